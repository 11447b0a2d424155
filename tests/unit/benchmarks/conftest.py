"""The scripts of benchmarks/gpu as the modules that they are when they run."""

import pytest


@pytest.fixture(autouse=True)
def _beside_the_scripts(monkeypatch, repository):
    monkeypatch.syspath_prepend(repository / "benchmarks" / "gpu")


@pytest.fixture
def cave_folder(tmp_path, write_scene):
    """Four small scenes in CAVE's layout, one of them 8-bit, and their values."""
    root = tmp_path / "cave"
    values = {
        name: write_scene(root / f"{name}_ms", size=(32, 32), eight_bit=name == "watercolors", seed=seed)
        for seed, name in enumerate(("beads", "cloth", "face", "watercolors"))
    }
    return root, values
