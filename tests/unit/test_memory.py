"""The need of memory is compared with what the machine, the container and the process leave."""

import resource
from types import SimpleNamespace

import pytest

from hsipipe import memory
from hsipipe.errors import DataError
from hsipipe.memory import available_memory, check_memory

GB = 10**9


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """8 GB of free memory, 2 GB of swap, no limits; returns the root of the cgroups."""
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GB))
    monkeypatch.setattr(memory.psutil, "swap_memory", lambda: SimpleNamespace(free=2 * GB))
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(memory, "_CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUPS", tmp_path / "own")
    return tmp_path


def test_the_machine_alone(machine):
    assert available_memory() == (8 * GB, 10 * GB)


@pytest.mark.parametrize("place", ["", "pod/job", "pod"])
def test_a_container_of_version_2(machine, place):
    (machine / "own").write_text("0::/pod/job\n")
    (machine / place).mkdir(parents=True, exist_ok=True)
    (machine / place / "memory.max").write_text(f"{4 * GB}\n")
    (machine / place / "memory.current").write_text(f"{3 * GB}\n")
    (machine / place / "memory.stat").write_text(f"anon {GB}\ninactive_file {GB}\n")
    assert available_memory() == (2 * GB, 2 * GB)
    (machine / place / "memory.max").write_text("max\n")
    assert available_memory() == (8 * GB, 10 * GB)


def test_a_container_of_version_1(machine):
    (machine / "own").write_text("5:cpu,cpuacct:/x\n4:memory:/pod\n0::/\n")
    (machine / "memory" / "pod").mkdir(parents=True)
    for name, text in (("limit_in_bytes", 4 * GB), ("usage_in_bytes", GB), ("stat", "total_inactive_file 0")):
        (machine / "memory" / "pod" / f"memory.{name}").write_text(f"{text}\n")
    assert available_memory() == (3 * GB, 3 * GB)


def test_a_limit_of_the_process(machine, monkeypatch):
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (5 * GB, 5 * GB))
    monkeypatch.setattr(memory.psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(vms=GB)))
    assert available_memory() == (4 * GB, 4 * GB)


def test_enough_is_silent_swap_is_a_warning_too_much_an_error(machine, caplog):
    check_memory(8 * GB, what="A result", advice="cut the scene")
    assert not caplog.text
    check_memory(9 * GB, what="A result", advice="cut the scene")
    assert "A result needs about 9 GB of memory, 8 GB are free; the rest is swapped" in caplog.text
    with pytest.raises(
        DataError, match=r"A result needs about 11 GB of memory, but 10 GB are available; cut the scene\."
    ):
        check_memory(11 * GB, what="A result", advice="cut the scene")


@pytest.mark.parametrize(("kind", "field"), [(resource.RLIMIT_AS, "vms"), (resource.RLIMIT_DATA, "data")])
def test_limits_of_the_process_leave_what_it_does_not_hold_yet(machine, monkeypatch, kind, field):
    limits = {kind: (3 * GB, 3 * GB)}
    monkeypatch.setattr(memory.resource, "getrlimit", lambda asked: limits.get(asked, (resource.RLIM_INFINITY,) * 2))
    used = SimpleNamespace(**{"vms": GB // 2, "data": GB // 2, field: GB})
    monkeypatch.setattr(memory.psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: used))
    assert available_memory() == (2 * GB, 2 * GB)
