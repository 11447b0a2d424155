"""SIGKILL in the middle of a stage; `make faults` does the same in every stage, many times."""

import pytest

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS = 2.5
"""About what a stage of the small project takes; a kill comes at a moment of that, drawn from the seed."""


@pytest.mark.parametrize(
    ("target", "stages", "seed"),
    [("stage", ("patches", "train_control"), 0), ("dvc", ("train_gae",), 1), ("command", ("latents",), 2)],
)
def test_a_kill_leaves_nobody_and_nothing_half_done_and_the_same_command_ends_the_same(lab, target, stages, seed):
    from injection.kills import Pass
    from injection.laboratory import REPRO

    checkout = lab.checkout("dmgasr", stages)
    names = ("patches", "train_gae", "latents", "train_control")
    a_pass = Pass(REPRO, target, dict.fromkeys(names, SECONDS), lab.reference("dmgasr"), {})
    kills = a_pass.go(checkout, stages, seed=seed)
    assert [kill.failure for kill in kills] == [None] * len(stages)
