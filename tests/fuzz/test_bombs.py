"""Small inputs that claim much: a cube or one line, within bounded memory and time."""

import pytest
from bombs import BOMBS
from child import run


@pytest.mark.parametrize("name", BOMBS)
def test_small_input_takes_little(name, tmp_path):
    BOMBS[name](tmp_path / name)
    held = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert held <= 1 << 20
    outcome = run(tmp_path / name)
    assert not outcome.fault, outcome
