"""Predict many scenes: each becomes a product with a record of what it is made of, once."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from hsipipe.commands.batch_scenes import BatchScene, batch_scenes
from hsipipe.commands.predict_file import digest_of, pinned, predict_file
from hsipipe.commands.written import describe_result
from hsipipe.credentials import without_credentials
from hsipipe.errors import AlreadyRunningError, DataError, ParamsError, one_line
from hsipipe.exits import reason
from hsipipe.formats import companions, writer
from hsipipe.formats.digest import source_digest
from hsipipe.formats.overlap import Overlap
from hsipipe.formats.products.base import Masks
from hsipipe.formats.provenance import package_version
from hsipipe.inference.guard import Guard, Judgement
from hsipipe.inference.inputs import OVERLAP, TILE
from hsipipe.inference.made_of import progress_of
from hsipipe.inference.values_found import ValuesFound
from hsipipe.json_text import parse_json
from hsipipe.storage.publish import discard, sole_writer, unfinished, write_text
from hsipipe.storage.urls import Place, Url

Kind = Literal["made", "known", "waiting", "failed"]


@dataclass(frozen=True)
class BatchOptions:
    """Options of all scenes of a batch, those of :func:`hsipipe.commands.predict_file.predict_file`.

    Attributes:
        quiet_s: Seconds since the last change of a scene before it is read.
    """

    full_scale: float = 1.0
    tile: int = TILE
    overlap: int = OVERLAP
    variable: str | None = None
    other_wavelengths: bool = False
    detector_overlap: Overlap = "keep"
    masks: Masks = "all"
    guard: Guard = "warn"
    memory: int | None = None
    dtype: str = "float32"
    quiet_s: float = 0.0

    def of_values(self) -> dict[str, Any]:
        """Return the options that the values depend on."""
        return {key: value for key, value in asdict(self).items() if key not in ("memory", "quiet_s")}


@dataclass(frozen=True)
class Outcome:
    """Outcome for a scene.

    Attributes:
        name: Name of the scene.
        kind: "known": its product is there. "waiting": another process predicts it, or it may be incomplete.
        text: What was written, or why nothing was; a line.
    """

    name: str
    kind: Kind
    text: str

    def line(self) -> str:
        """Return the outcome as a line."""
        return f"{self.name}: {self.kind}, {self.text}"


def check_outcomes(outcomes: Sequence[Outcome]) -> str:
    """Count the outcomes of a batch in a sentence.

    Raises:
        DataError: Scenes failed; the message names them.
    """
    kinds = [outcome.kind for outcome in outcomes]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in get_args(Kind) if kind in kinds) or "no scenes"
    if failed := [outcome.name for outcome in outcomes if outcome.kind == "failed"]:
        raise DataError(f"{counts}; not predicted: {', '.join(failed)}. The lines above say why.")
    return counts


class Batch:
    """Scenes, the folder of their products, and a model.

    Args:
        place: Folder with the scenes, or a file or an address of STAC items.
        out: Folder of the products; it is made.
        model: Folder or registry URI; an alias is resolved once.
        suffix: Suffix of the products.
        asset: Key of the asset of each item.
        options: Options of the predictions.

    Raises:
        ParamsError: `out` is the folder of the scenes.
        HsipipeError: The scenes, the model or the format of the products are not there.
    """

    def __init__(
        self, place: Place, out: Path, *, model: str, suffix: str, asset: str | None, options: BatchOptions
    ) -> None:
        writer(Path(f"x{suffix}"))
        if isinstance(place, Path) and out.resolve() == place.resolve():
            raise ParamsError(f"{out} is the folder of the scenes; give another one for the products.")
        self.scenes = batch_scenes(place, asset=asset)
        self._out, self._suffix, self._options = out, suffix, options
        self._model = pinned(model)
        self._sha256 = digest_of(self._model)
        out.mkdir(parents=True, exist_ok=True)

    def predict(self, scene: BatchScene) -> Outcome:
        """Predict a scene, unless its product is there; an error is the outcome of this scene alone."""
        try:
            if scene.path is None or scene.trouble:
                return Outcome(scene.name, "failed", scene.trouble)
            with sole_writer(self._record(scene)):
                return self._predict_locked(scene, scene.path)
        except AlreadyRunningError as error:
            return Outcome(scene.name, "waiting", one_line(error))
        except Exception as error:  # whatever it is, it must not stop the other scenes
            return Outcome(scene.name, "failed", without_credentials(one_line(reason(error))))

    def _predict_locked(self, scene: BatchScene, path: Place) -> Outcome:
        if isinstance(path, Url):
            from hsipipe.storage.ranges import forget  # slow to import

            forget()  # it may have changed since the last batch of this process
        digest, target = source_digest(path), self._out / f"{scene.name}{self._suffix}"
        if target.exists() and self._made_from(scene) == digest:
            return Outcome(scene.name, "known", f"{target} is there")
        if (age := self._age_s(path)) < self._options.quiet_s:
            return Outcome(scene.name, "waiting", f"it changed {age:.0f} s ago, expected {self._options.quiet_s:g} s")
        self._drop_other(target, digest)
        judgements: list[Judgement] = []
        values: list[ValuesFound] = []
        start, options = time.monotonic(), {**self._options.of_values(), "memory": self._options.memory}
        predict_file(path, target, model=self._model, judged=judgements.append, found=values.append, **options)
        record: dict[str, Any] = {
            "product": target.name,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "source": {
                "path": str(path if isinstance(path, Url) else path.absolute()),
                "digest": digest,
                "item": scene.item or None,
            },
            "model": {"uri": self._model, "sha256": self._sha256},
            "options": self._options.of_values(),
            "hsipipe": package_version(),
            "quality": {**_quality(values[0]), "guard": judgements[0].as_json() if judgements else None},
        }
        # The source may have changed meanwhile; with the digest from before, it is predicted again then.
        write_text(self._record(scene), json.dumps(record, indent=1, allow_nan=False) + "\n")
        return Outcome(scene.name, "made", describe_result(target, values[0], time.monotonic() - start))

    def _record(self, scene: BatchScene) -> Path:
        return self._out / f"{scene.name}.json"

    def _made_from(self, scene: BatchScene) -> str | None:
        """Return the digest of the source of a product; None: it is not known."""
        try:
            tree = parse_json(self._record(scene).read_text("utf-8"))
            return str(tree["source"]["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _age_s(self, path: Place) -> float:
        if isinstance(path, Url):  # a server replaces a file at once
            return math.inf
        # abs: a clock may be set back
        return min(abs(time.time() - file.stat().st_mtime) for file in companions(path))

    def _drop_other(self, target: Path, digest: str) -> None:
        """Remove the unfinished product of an earlier model or source."""
        begun = progress_of(target)
        if begun is not None and (begun.made_of.get("model"), begun.made_of.get("source")) != (self._sha256, digest):
            discard(unfinished(target))


def _quality(found: ValuesFound) -> Mapping[str, Any]:
    """Return numbers of the values of a product, in its units."""
    return {"low": found.low, "high": found.high, "mean": found.mean, "no_data_share": found.missing_share}
