"""docs/use-a-model.md says of each fusion method without training if it goes in windows."""

import re
from pathlib import Path

import pytest

from hsipipe.methods.catalogue import methods
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion

PAGE = Path(__file__).parents[2] / "docs" / "use-a-model.md"


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kind in methods().items() if issubclass(kind, WholeSceneFusion)]
)
def test_table_says_if_a_method_goes_in_windows(name: str, kind: type[WholeSceneFusion]) -> None:
    rows = re.findall(r"^\| (.*?) \| (yes|no) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)

    said = [answer for names, answer in rows if f"`{name}`" in names]

    assert said == ["no" if kind.WHOLE_SCENE else "yes"]
