"""Faults put into a running pipeline: a clear end, nothing half-written, and the same results afterwards.

By default one fault of each kind; with ``--every-fault`` (`make faults`) all of them, and kills in every stage.
"""

import random
import signal
import time
from functools import partial

import psutil
import pytest

from . import damage, machine, retraining, servers, surroundings
from .harness import PIPELINE, REPRO, STAGE, durations

# The time covers the first run of the project, which one of these tests waits for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

YEAR_S = 365 * 86400.0
_RNG = random.Random(0)
FAULTS = {
    **{
        f"{number.name} to the {target}": partial(
            machine.signalled,
            number=number,
            target=target,
            command=PIPELINE if target == "flow" else REPRO,
            moment=2 * _RNG.random(),
        )
        for number in (signal.SIGTERM, signal.SIGINT)
        for target in ("stage", "dvc", "command", "flow")
    },
    "two tasks repro at once": lambda lab: machine.two_at_once(lab, *REPRO, code=75, parts=["is already running"]),
    "two dvc repro at once": lambda lab: machine.two_at_once(lab, "-m", "dvc", "repro", code=None, parts=[]),
    "full disk: models": lambda lab: machine.full_disk(lab, "models"),
    "full disk: data": lambda lab: machine.full_disk(lab, "data", stage="patches"),
    "full disk: reports": lambda lab: machine.full_disk(lab, "reports", spare_bytes=0),
    "full disk: DVC's cache": lambda lab: machine.full_disk(lab, ".dvc/cache", spare_bytes=0),
    "full disk: work folder": lambda lab: machine.full_disk(lab, ".hsipipe/work"),
    "read-only: DVC's cache": lambda lab: machine.read_only(lab, ".dvc/cache"),
    "read-only: models": lambda lab: machine.read_only(lab, "models"),
    "read-only: download cache": machine.read_only_downloads,
    "full disk: at a resume point": machine.full_at_a_resume_point,
    "stage stopped and continued": lambda lab: machine.stopped_and_continued(lab, target="stage"),
    "all stopped and continued": lambda lab: machine.stopped_and_continued(lab, target="all"),
    "little memory: training": machine.little_memory,
    "little memory: predict": machine.little_memory_in_predict,
    "terminal closes": surroundings.terminal_closes,
    "terminal closes: flow": lambda lab: surroundings.terminal_closes(lab, command=PIPELINE),
    "output closes": surroundings.output_closes,
    "streams closed": surroundings.streams_closed,
    "another user": surroundings.another_user,
    "checkout of another user": surroundings.of_another_user,
    "umask 077": surroundings.narrow_umask,
    "locale C": lambda lab: surroundings.variables(lab, LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    "no HOME": lambda lab: surroundings.variables(lab, HOME=None, USER=None, LOGNAME=None),
    "HOME that cannot be written": lambda lab: surroundings.variables(lab, HOME="/proc/nowhere"),
    "inbox killed": retraining.inbox,
    "gate and promotion killed": retraining.gate_and_promotion,
    "worktree": surroundings.worktree,
    "no git repository": surroundings.without_git,
    "no git program": surroundings.without_git_program,
    **{f"path refused: {name}": partial(surroundings.refused_path, name=name) for name in ("what?x=1", "{brace}")},
    **{f"path: {name}": partial(surroundings.odd_path, name=name) for name in surroundings.PLACES},
    "clock back by a year": lambda lab: machine.clock(lab, shift_s=-YEAR_S),
    "clock forward by a year": lambda lab: machine.clock(lab, shift_s=YEAR_S),
    "MLflow server down": servers.mlflow_down,
    "MLflow server dies in a stage": servers.mlflow_dies,
    "MLflow's SQLite locked": servers.database_locked,
    "Prefect server down": servers.prefect_down,
    "Prefect server dies in a flow": servers.prefect_dies,
    "damaged resume point": damage.resume_point,
    "damaged shard of patches": damage.shard,
    "damaged download": damage.download,
    "damaged entry of DVC's cache": damage.cache,
    "loss not finite": damage.loss_not_finite,
}
SHORT = [
    *("SIGTERM to the stage", "two tasks repro at once", "clock back by a year", "MLflow's SQLite locked"),
    *("full disk: models", "full disk: DVC's cache", "read-only: models"),
    *("damaged resume point", "damaged shard of patches", "damaged download", "damaged entry of DVC's cache"),
    *("loss not finite", "terminal closes", "little memory: predict", "no git repository"),
]
# (fixture of the reference, command, what is killed, stages that are killed; None: all)
KILLS = [
    ("project", REPRO, "stage", None),
    ("project", PIPELINE, "command", None),
    ("project", REPRO, "dvc", None),
    ("fusion_project", PIPELINE, "command", None),
    ("fusion_project", REPRO, "stage", None),
    ("project", REPRO, "command", None),
    ("fusion_project", PIPELINE, "dvc", None),
    ("project", PIPELINE, "stage", None),
]
SHORT_KILLS = [
    ("project", REPRO, "stage", ("patches", STAGE)),
    ("project", REPRO, "dvc", ("train_gae@standard",)),
    ("project", REPRO, "command", ("latents@standard",)),
]


def _with_servers(name):
    starts = "server" in name or "flow" in name
    return pytest.param(name, marks=[pytest.mark.xdist_group("servers")] if starts else [])


def pytest_generate_tests(metafunc):
    every = metafunc.config.getoption("--every-fault", default=False)
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", [_with_servers(name) for name in (FAULTS if every else SHORT)])
    if "kills" in metafunc.fixturenames:
        chosen = list(enumerate(KILLS if every else SHORT_KILLS))
        metafunc.parametrize("kills", chosen, ids=[f"{n}-{kill[0]}-{kill[2]}" for n, kill in chosen])


def test_the_same_command_again_ends_like_an_undisturbed_run(lab, fault):
    print(FAULTS[fault](lab))


@pytest.mark.timeout(3600)
@pytest.mark.xdist_group("servers")
def test_a_pipeline_killed_in_one_stage_after_another_ends_like_an_undisturbed_run(lab, kills, request):
    seed, (reference, command, target, stages) = kills
    reference = request.getfixturevalue(reference)
    env = {"PREFECT_API_URL": request.getfixturevalue("prefect_api")} if command == PIPELINE else {}
    seconds = durations(reference)
    checkout = lab.checkout(*(stages or ["all"]), reference=reference)
    rng = random.Random(seed)
    for stage in stages or seconds:
        with checkout.begun(*command, stage=stage, env=env) as child:
            time.sleep(rng.random() * seconds[stage])
            print(kill(checkout, child, target, seconds))
            child.end()
            checkout.check_tidy()
            checkout.check_results(complete=False)
    checkout.check_recovers(*command, env=env)
    assert not env or servers.open_in_prefect(env["PREFECT_API_URL"]) == []


def kill(checkout, child, target, stages):
    """Kill the stage, dvc, or the command; the next one above where none lives between two stages. Say which."""
    running = next((stage for stage in stages if checkout.stage_process(stage)), None)
    found = {"stage": checkout.stage_process(running) if running else None, "dvc": checkout.dvc_process()}
    for name in ("stage", "dvc")[("stage", "dvc", "command").index(target) :]:
        try:
            if found[name] is not None:
                found[name].kill()
                return f"killed {name} in {running or 'between stages'}"
        except psutil.NoSuchProcess:
            pass
    child.process.kill()
    return f"killed command in {running or 'between stages'}"
