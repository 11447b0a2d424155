"""Named sweeps: points that differ in a few parameters, and how their results are shown.

A sweep is a YAML file in this folder, or one of the user's own::

    title: Steps of the sampler
    figure: {kind: lines, x: nfe, title: network evaluations, log: true}
    points:
      - label: 1 step
        set: {sampling.steps: 1}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from hsipipe.errors import MissingInputError, ParamsError, UnknownNameError
from hsipipe.params import Group, Positive

_FOLDER = files("hsipipe.sweeps")
N_SUBS = "gae.n_subs"


class FigureParams(Group):
    """How the figure of a sweep is drawn."""

    kind: Literal["dots", "lines", "spread"]
    """A row of marks for each point; lines over `x`; or every point's result with mean and standard deviation."""
    x: str | None = None
    """For lines: a parameter that every point sets, or a column of the table such as nfe."""
    title: str = ""
    """Label of the x axis."""
    log: bool = False
    """Logarithmic x axis."""
    series: str | None = None
    """For lines: a parameter that every point sets; each of its values becomes a line."""


class SweepPoint(Group):
    """One run of the pipeline."""

    label: Annotated[str, Field(min_length=1, max_length=16)]
    """Its name in the table."""
    set: dict[str, Any]
    """Parameters that differ from params.yaml, by their dotted names."""
    most_bands: Positive | None = None
    """Only for cubes with at most that many bands; null: for all."""


class Sweep(Group):
    """What a sweep runs and shows."""

    name: Annotated[str, Field(pattern=r"^[\w-]+$")]
    """Name of the file without its ending; names the folder of the results."""
    title: str
    """Heading of table and figure."""
    figure: FigureParams
    points: Annotated[list[SweepPoint], Field(min_length=1)]

    @model_validator(mode="after")
    def _points_can_be_told_apart(self) -> "Sweep":
        labels = [point.label for point in self.points]
        if len(set(labels)) < len(labels):
            raise ValueError(f"two points have the same label: {', '.join(labels)}")
        if self.figure.kind == "lines" and self.figure.x is None:
            raise ValueError("figure: lines need an x")
        for key in (self.figure.x, self.figure.series):
            missing = [point.label for point in self.points if key and "." in key and key not in point.set]
            if missing:
                raise ValueError(f"figure: these points do not set {key}: {', '.join(missing)}")
        return self


@dataclass(frozen=True)
class Selection:
    """The points of a sweep that fit a cube.

    Attributes:
        points: Those that can be run.
        skipped: One sentence for each of the others.
    """

    points: tuple[SweepPoint, ...]
    skipped: tuple[str, ...]


def sweep_names() -> list[str]:
    """The names that :func:`load_sweep` knows."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml"))


def load_sweep(name: str) -> Sweep:
    """The sweep called `name`, or the one in a file.

    Args:
        name: One of :func:`sweep_names`, or the path of a ``.yaml`` file.

    Raises:
        UnknownNameError: There is no such sweep; the message lists them.
        MissingInputError: There is no such file.
        ParamsError: The file is no definition of a sweep.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise MissingInputError(f"No file {path} that defines a sweep.") from error
        return parse_sweep(text, name=path.stem)
    names = sweep_names()
    if name not in names:
        close = get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownNameError(
            f"Unknown sweep {name!r}.{hint} Known sweeps: {', '.join(names)}; or give the path of a .yaml file."
        )
    return parse_sweep((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), name=name)


def parse_sweep(text: str, *, name: str) -> Sweep:
    """Check the text of a definition.

    Raises:
        ParamsError: It is no YAML, or a key is unknown, missing or does not fit.
    """
    try:
        tree = yaml.safe_load(text)
        if not isinstance(tree, Mapping):
            raise ParamsError(f"Sweep {name}: expected title, figure and points, got {type(tree).__name__}.")
        return Sweep.model_validate({"name": name, **tree})
    except yaml.YAMLError as error:
        raise ParamsError(f"Sweep {name} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, entry['loc'])) or name}: {entry['msg']}" for entry in error.errors(include_url=False)
        )
        raise ParamsError(f"Sweep {name}: {problems}.") from error


def select(sweep: Sweep, bands: int | None) -> Selection:
    """The points that make sense on a cube.

    Args:
        sweep: The sweep.
        bands: Bands C of the cubes; None where only the files know: nothing is skipped then.
    """
    points, skipped = [], []
    for point in sweep.points:
        group = point.set.get(N_SUBS)
        if bands is not None and isinstance(group, int) and group > bands:
            skipped.append(f"{point.label}: a group of {group} bands does not fit into cubes of {bands}.")
        elif bands is not None and point.most_bands is not None and bands > point.most_bands:
            skipped.append(f"{point.label}: it is for cubes of at most {point.most_bands} bands, these have {bands}.")
        else:
            points.append(point)
    return Selection(tuple(points), tuple(skipped))
