"""A process that owns a run: it is gone only where that is certain."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from tasks.running import owner as module
from tasks.running.owner import Life, Owner, Place

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the start is told by the clock")


@pytest.fixture
def ended():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner.of(psutil.Process(child.pid))
    assert owner.life() is Life.LIVING
    child.communicate()
    return owner


def test_an_owner_lives_until_its_process_ends(ended):
    assert ended.life() is Life.GONE
    assert ended.is_gone()


@linux
def test_a_process_that_nobody_has_waited_for_is_gone():
    child = subprocess.Popen([sys.executable, "-c", ""])
    owner = Owner.of(psutil.Process(child.pid))
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.life() is Life.GONE
    child.wait()


@linux
def test_a_later_process_with_the_same_number_is_not_the_owner():
    me = Owner.me()
    assert me.life() is Life.LIVING
    assert Owner(me.pid, "1@" + me.created.partition("@")[2]).life() is Life.GONE


@linux
def test_an_owner_is_known_whatever_the_clock_says(monkeypatch):
    me = Owner.me()
    # psutil adds the time of boot, which the kernel takes from the clock.
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: 1.0e9)
    assert Owner.of(psutil.Process(os.getpid())) == me
    assert me.life() is Life.LIVING


HERE = Place("b" * 8, "4026531836", "m" * 8)
CONTAINER = HERE._replace(namespace="4026532001")


@linux
@pytest.mark.parametrize(
    ("here", "there", "life"),
    [
        (HERE, HERE._replace(boot="a" * 8), Life.GONE),  # after a reboot
        (HERE, HERE._replace(boot="a" * 8, machine="n" * 8), Life.UNKNOWN),  # another machine of this name
        (HERE._replace(machine=""), HERE._replace(boot="a" * 8, machine=""), Life.UNKNOWN),
        (HERE, CONTAINER, Life.UNKNOWN),
        (CONTAINER, HERE, Life.UNKNOWN),
        (CONTAINER, CONTAINER._replace(namespace="4026532002"), Life.UNKNOWN),
        (CONTAINER, CONTAINER._replace(boot="a" * 8), Life.UNKNOWN),  # the images of two machines have one id
    ],
)
def test_a_process_of_another_place_is_judged_only_after_a_reboot(monkeypatch, ended, here, there, life):
    monkeypatch.setattr(Place, "here", lambda: here)
    ticks = ended.created.partition("@")[0]
    assert replace(ended, created=f"{ticks}@{'/'.join(there)}").life() is life


@linux
@pytest.mark.parametrize("created", ["", "123@abcd1234", "1700000000.25", "1@a/b/c/d"])
def test_what_another_system_or_version_has_noted_is_not_judged(created):
    assert Owner(2**30, created).life() is Life.UNKNOWN


@linux
def test_a_process_that_is_hidden_from_this_user_may_live(monkeypatch, ended):
    def refuse(*_args):
        raise PermissionError

    def hide(pid):
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(module.os, "kill", refuse)
    monkeypatch.setattr(module.psutil, "Process", hide)
    assert ended.life() is Life.UNKNOWN


@linux
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_process_of_a_container_is_not_judged_from_outside():
    told = "from tasks.running.owner import Owner; me = Owner.me(); print(me.pid, me.created, me.life().value)"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", told]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "Operation not permitted" in done.stderr:
        pytest.skip("namespaces need root")
    pid, created, life = done.stdout.split()
    assert life == "living"
    assert Owner(int(pid), created).life() is Life.UNKNOWN
