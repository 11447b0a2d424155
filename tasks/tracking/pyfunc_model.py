"""Code of the registered model, which MLflow copies next to the weights and runs when it loads them.

It imports only the library, not tasks.
"""

import logging
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from hsipipe import load_model
from hsipipe.errors import IntegrityError, ModelInputError
from hsipipe.inference.guard import guarded
from hsipipe.inference.holes import Mask, fill_holes, joined, open_holes
from hsipipe.inference.inputs import OVERLAP, TILE
from hsipipe.inference.known import domain_of, input_warnings
from hsipipe.inference.statistics import Statistic, guarded_statistics
from hsipipe.storage.manifest import digest, verify

logger = logging.getLogger("hsipipe.model")


class SuperResolverModel(PythonModel):
    """LR cubes (B, C, h, w) float32 in, HR cubes (B, C, H, W) float32 out.

    A model that fuses takes a dict of two arrays: ``lr`` and ``msi`` (B, c, H, W). Parameters: ``wavelength_nm``, the
    band centres of the cubes, which are compared with those of the training; ``guard``, see
    :mod:`hsipipe.inference.guard`; ``samples`` and ``statistic``, see :mod:`hsipipe.inference.statistics`. What speaks
    against a prediction is logged as a warning.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the registered folder after comparing its bytes with the recorded digest."""
        folder = Path(context.artifacts["superresolver"])
        expected = context.model_config["sha256"]
        if (got := digest(folder)) != expected:
            raise IntegrityError(
                f"The model in {folder} has the digest {got}, expected {expected} as registered; register it again."
            )
        verify(folder)
        self._model = load_model(folder)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Super-resolve a batch; refuse infinite values, a wrong band count or type, and other wavelengths.

        NaN is no data: such pixels are filled for the model, and are NaN in the result.
        """
        given: Any = model_input  # a dict in fusion; MLflow has no type hint for it and warns about any attempt
        options = {"guard": "warn", "wavelength_nm": (), "samples": 0, "statistic": "mean", **(params or {})}
        domain, centres = domain_of(self._model), list(options["wavelength_nm"])
        if domain is not None and centres and (text := domain.other_bands(centres)):
            raise ModelInputError(f"{text}. Take a model of this sensor.")
        if self._model.msi_bands == 0:
            return self._answer(given, None, options)
        if not isinstance(given, dict) or set(given) != {"lr", "msi"}:
            got = f"a dict of {sorted(given)}" if isinstance(given, dict) else f"a {type(given).__name__}"
            raise ModelInputError(
                f"Got {got}, expected a dict of two arrays, lr (B, C, h, w) and msi (B, c, H, W), because this model "
                "fuses an LR-HSI with an HR-MSI."
            )
        lr, msi = given["lr"], given["msi"]
        return self._answer(lr, msi, options)

    def _answer(self, lr: np.ndarray, msi: np.ndarray | None, options: dict[str, Any]) -> np.ndarray:
        lr, lr_holes = _filled(lr, "lr")
        msi, msi_holes = (None, {}) if msi is None else _filled(msi, "msi")
        images = self._predicted(lr, msi, options)
        for number in lr_holes.keys() | msi_holes.keys():
            holes = joined(lr_holes.get(number), msi_holes.get(number), scale=self._model.scale)
            images[number] = open_holes(images[number], holes)
        return images

    def _predicted(self, lr: np.ndarray, msi: np.ndarray | None, options: dict[str, Any]) -> np.ndarray:
        statistic, count = Statistic.parse(str(options["statistic"])), int(options["samples"])
        if statistic.kind == "mean":
            return self._checked(lr, msi, self._model.predict(lr, msi=msi), options["guard"])
        images = []
        for number, low in enumerate(lr):
            fine = None if msi is None else msi[number]
            whole = {"tile": max(low.shape[1:]), "overlap": 0}  # as in the prediction of a batch
            (image,), told = guarded_statistics(
                self._model, low, [statistic], count=count, guard=options["guard"], msi=fine, **whole
            )
            images.append(image)
            self._warn(number, low, told, options["guard"])
        return np.stack(images)

    def _checked(self, lr: np.ndarray, msi: np.ndarray | None, sr: np.ndarray, guard: Any) -> np.ndarray:
        images = []
        for number, (low, high) in enumerate(zip(lr, sr, strict=True)):
            fine = None if msi is None else msi[number]
            image, told = guarded(self._model, low, high, guard=guard, msi=fine, tile=TILE, overlap=OVERLAP)
            images.append(image)
            self._warn(number, low, told, guard)
        return np.stack(images)

    def _warn(self, number: int, lr: np.ndarray, told: list[str], guard: Any) -> None:
        for text in ([] if guard == "off" else input_warnings(domain_of(self._model), lr)) + told:
            logger.warning("image %d: %s", number, text)


def _filled(batch: np.ndarray, name: str) -> tuple[np.ndarray, dict[int, Mask]]:
    """Fill the pixels of a batch with NaN or Inf, which have no data; return it with the holes of images, by number."""
    is_batch = isinstance(batch, np.ndarray) and batch.ndim == 4 and np.issubdtype(batch.dtype, np.floating)
    if not is_batch or np.isfinite(batch).all():
        return batch, {}  # the model checks shape and type
    finite = np.where(np.isfinite(batch), batch, batch.dtype.type(np.nan))
    found = [fill_holes(image, f"{name}, image {number},") for number, image in enumerate(finite)]
    return np.stack([image for image, _ in found]), {
        n: holes for n, (_, holes) in enumerate(found) if holes is not None
    }


mlflow.models.set_model(SuperResolverModel())
