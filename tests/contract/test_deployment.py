"""prefect.yaml describes deployments that Prefect can make."""

from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_is_of_a_flow_and_runs_one_at_a_time(deployment):
    path, _, name = deployment["entrypoint"].partition(":")
    assert (ROOT / path).is_file()
    flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_the_nightly_retraining_alone_is_scheduled_and_has_a_time_limit():
    active = [d for d in DEPLOYMENTS if any(schedule["active"] for schedule in d.get("schedules", []))]
    (nightly,) = active
    assert (nightly["name"], nightly["entrypoint"]) == ("nightly", "flows/retrain.py:retrain")
    (schedule,) = nightly["schedules"]
    assert len(schedule["cron"].split()) == 5
    assert nightly["parameters"]["timeout_minutes"] > 0
    assert nightly["work_pool"]["name"] == "default"
    assert {d["work_pool"]["name"] for d in DEPLOYMENTS} == {"default"}
