"""prefect.yaml describes a deployment that Prefect can make."""

from importlib import import_module
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_the_deployment_runs_the_pipeline_every_night_one_at_a_time():
    tree = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    (deployment,) = tree["deployments"]
    path, _, name = deployment["entrypoint"].partition(":")
    assert (ROOT / path).is_file()
    flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert flow.name == "pipeline"
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    (schedule,) = deployment["schedules"]
    assert len(schedule["cron"].split()) == 5
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert deployment["work_pool"]["name"] == "default"
