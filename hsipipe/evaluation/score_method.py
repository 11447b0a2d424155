"""Score a method on every whole test scene, in the same way for all methods."""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs, Pair, Scores
from hsipipe.artifacts.no_data import NO_DATA
from hsipipe.errors import DataError
from hsipipe.evaluation.calibration import summary
from hsipipe.evaluation.ensemble import Ensemble
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.metrics import band_mse, mpsnr_db
from hsipipe.evaluation.predicted import SUFFIX, PredictedCube
from hsipipe.evaluation.prediction import check_whole, copies_held, predict_pair
from hsipipe.evaluation.score_samples import CALIBRATION_LISTS, calibration_of, sample_metrics, training_frame
from hsipipe.evaluation.scoring import score
from hsipipe.evaluation.windows import bands
from hsipipe.inference.scene import draw_scene
from hsipipe.methods.base import Ceiling, Method, Trainable
from hsipipe.methods.pca_ceiling import PcaCeiling
from hsipipe.methods.super_resolver import SampleResolver
from hsipipe.params import SamplingParams
from hsipipe.progress import progress
from hsipipe.protocols import Protocol

_CEILING_COPIES = 3
"""Images of the size of the truth while a ceiling is measured, which takes it whole."""
_WARM_UP = 8
"""Edge in LR pixels of the corner that is predicted for warm-up; its time is not counted."""


@dataclass(frozen=True)
class Faults:
    """Why the trainings behind a row were not completed; empty: they were.

    Attributes:
        method: The training of the method.
        autoencoder: The training of the autoencoder of its latents, which its ceilings measure.
    """

    method: str = ""
    autoencoder: str = ""

    def of_rows(self, row: str, ceilings: Iterable[str]) -> dict[str, str]:
        """Return the faults by row: the method's, and the autoencoder's for the ceilings that it reaches."""
        own = {row: self.method} if self.method else {}
        text = f"its autoencoder: {self.autoencoder}"
        return own | ({name: text for name in ceilings if not name.startswith("pca-")} if self.autoencoder else {})


NO_FAULTS = Faults()


@dataclass(frozen=True)
class _Row:
    """A method, or one of its ceilings, applied to one test scene after another."""

    name: str
    method: Method
    sampling: SamplingParams
    ceiling: Ceiling | None = None

    @property
    def sampler(self) -> SampleResolver | None:
        """The method, if its samples differ from each other."""
        method = self.method
        is_sampler = self.ceiling is None and isinstance(method, SampleResolver) and method.varies
        return cast(SampleResolver, method) if is_sampler else None

    @property
    def copies(self) -> int:
        """Images of the size of the truth that are held at once; 0: a large scene is scored in windows."""
        if self.ceiling is not None:
            return _CEILING_COPIES
        samples = 0 if self.sampler is None else 2 * self.sampling.ensemble
        return max(samples, copies_held(self.method))

    def predict(self, pair: Pair, limits: tuple[float, float], folder: Path) -> Any:
        """Predict (C, H, W), clipped. A method gets the observations only; only a ceiling gets the truth.

        Args:
            pair: The region.
            limits: Range of the values.
            folder: Gets the file of the prediction of a large region.
        """
        method, msi = self.method, pair.msi if self.method.FUSES else None
        if self.ceiling is not None:
            check_whole(pair, self.copies, what=f"{self.name} of {pair.name}")
            fine = None if msi is None else np.asarray(msi)
            return np.clip(self.ceiling(np.asarray(pair.lr), fine, np.asarray(pair.hr)), *limits)
        try:
            return predict_pair(method, pair, msi=msi, sampling=self.sampling, limits=limits, folder=folder)
        except DataError as error:
            raise DataError(f"{self.name} on {pair.name}: {error}") from error

    def draw(self, pair: Pair, prediction: Any, limits: tuple[float, float]) -> Ensemble:
        """Draw samples from the observations; without a sampler return the clipped prediction."""
        if (sampler := self.sampler) is None:
            return Ensemble.point(prediction)
        msi = pair.msi if self.method.FUSES else None
        sampling = self.sampling
        check_whole(pair, self.copies, what=f"{sampling.ensemble} samples of {pair.name}")
        pair = replace(pair, lr=np.asarray(pair.lr))
        msi = None if msi is None else np.asarray(msi)
        samples = draw_scene(
            sampler, pair.lr, count=sampling.ensemble, msi=msi, tile=sampling.tile, overlap=sampling.overlap
        )
        return Ensemble.of(
            samples,
            np.asarray(prediction),
            around_mean=sampler.averages,
            interval_scale=sampler.interval_scale,
            limits=limits,
        )


def score_method(
    method: Method,
    pairs: DegradedPairs,
    out: Path,
    *,
    row: str,
    sha256: str,
    protocol: Protocol,
    sampling: SamplingParams,
    faults: Faults = NO_FAULTS,
) -> dict[str, Any]:
    """Predict and score the test scenes; write the scores and the report's images into `out`.

    Args:
        method: Prepared for prediction, see :meth:`hsipipe.methods.base.Method.prepared`.
        pairs: Test, validation and, for the PCA ceiling, training scenes.
        out: Existing empty folder; gets ``scores.json``, and one .npz and one .cube.json a scene.
        row: Name of the method's row.
        sha256: Digest of the model's folder.
        protocol: The protocol that the pairs were made by.
        sampling: Tiles of whole scenes.
        faults: Faults of the trainings.

    Returns:
        The tree of ``scores.json``, ready for strict JSON: ``name``, ``sha256``, ``description``, ``trained``,
        ``fuses``, ``test_set``, ``protocol``; ``kinds`` and ``scenes`` of the method's row and of its ceilings;
        ``val_mpsnr_db`` of a trained method, ``uncertainty`` of a method with several samples, ``faults`` by row.
        Values that are not finite are None.

    Raises:
        DataError: No test scene, no HR-MSI for a method that fuses, too little memory for what takes a whole scene, or
            a prediction that cannot be scored.
    """
    names = _names(pairs, "test", "test")
    ceilings = _ceilings(method, pairs)
    rows = [_Row(row, method, sampling), *(_Row(name, method, sampling, it) for name, it in ceilings.items())]
    _check_memory(rows, pairs, names)
    response = pairs.response() if method.FUSES else None
    frame, test_set, calibrations = training_frame(pairs), [], []
    scenes: dict[str, dict[str, dict[str, float]]] = {}
    with progress(f"evaluate {row}", len(names) * len(rows)) as advance:
        for name in names:
            with TemporaryDirectory(prefix=".", dir=out) as folder:
                pair = pairs.read("test", name, folder=Path(folder))
                _require_msi(method, pair)
                if not scenes:
                    _warm_up(rows, pair, Path(folder), scale=protocol.scale)
                scenes[name] = {}
                for each in rows:
                    prediction, scenes[name][each.name] = _score_scene(each, pair, protocol, response, Path(folder))
                    if each.ceiling is None:
                        ensemble = each.draw(pair, prediction, protocol.conventions.prediction_range)
                        scenes[name][each.name] |= sample_metrics(ensemble, pair, frame, protocol)
                        _keep(pair, prediction, ensemble, out, scale=protocol.scale)
                        calibrations += [calibration_of(ensemble, pair)] if ensemble.varies else []
                    advance(note=f"{name}: {each.name}")
                test_set.append(_identity(pair))
    tree = finite(
        {
            "name": row,
            "sha256": sha256,
            **_facts(method),
            "kinds": {each.name: "method" if each.ceiling is None else "ceiling" for each in rows},
            "scenes": scenes,
            "test_set": test_set,
            "protocol": protocol.as_json(),
            **_validation(method, pairs, sampling, out),
            **_uncertainty(rows[0], calibrations),
            "faults": faults.of_rows(row, ceilings),
        }
    )
    (out / Scores.FILE).write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    return cast(dict[str, Any], tree)


def _check_memory(rows: Iterable[_Row], pairs: DegradedPairs, names: Iterable[str]) -> None:
    """Check that all scenes fit into the memory, before the first one is predicted."""
    for pair in (pairs.look("test", name) for name in names):
        for row in rows:
            what = f"{row.sampling.ensemble} samples" if row.sampler else row.name
            check_whole(pair, row.copies, what=f"{what} of {pair.name} as one image")


def _keep(pair: Pair, prediction: Any, ensemble: Ensemble, out: Path, *, scale: int) -> None:
    """Write what the report shows of a scene."""
    SceneEvidence.of(pair, prediction, ensemble).save(out / f"{pair.name}.npz")
    PredictedCube.of(pair, prediction, scale).save(out / f"{pair.name}{SUFFIX}")


def _names(pairs: DegradedPairs, split: str, title: str) -> list[str]:
    names = pairs.names(split)
    if not names:
        raise DataError(f"There is no {title} scene, expected at least one; check the group split in params.yaml.")
    return names


def _facts(method: Method) -> dict[str, Any]:
    return {
        "description": method.description,
        "trained": isinstance(method, Trainable),
        "fuses": method.FUSES,
    }


def _ceilings(method: Method, pairs: DegradedPairs) -> dict[str, Ceiling]:
    """The upper bounds of a method, and the PCA with as many numbers per pixel, fitted on the training scenes."""
    bounds = dict(method.ceilings())
    if not bounds or method.components is None:
        return bounds
    # Overlapping groups can have more latent channels in total than there are bands; k is then the number of bands.
    pca = PcaCeiling.fit_training(pairs, method.components)
    return {f"pca-{pca.k}-ceiling": lambda lr, msi, hr: pca.reconstruct(hr), **bounds}


def _validation(method: Method, pairs: DegradedPairs, sampling: SamplingParams, out: Path) -> dict[str, float]:
    """MPSNR in dB of a trained method: mean over the validation scenes, each predicted whole as in production.

    The training's own validation on patches cannot replace it: methods differ near borders, and a small patch has a
    larger share of border pixels than a scene.
    """
    if not isinstance(method, Trainable):
        return {}
    names = _names(pairs, "val", "validation")
    values = []
    for name in names:
        with TemporaryDirectory(prefix=".", dir=out) as folder:
            pair = pairs.read("val", name, folder=Path(folder))
            sr = _Row(name, method, sampling).predict(pair, (0, 1), Path(folder))
            values.append(mpsnr_db(band_mse(pair.scored(sr), pair.scored(pair.hr))))
    return {"val_mpsnr_db": float(np.mean(values))}


def _uncertainty(row: _Row, calibrations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if (sampler := row.sampler) is None:
        return {}
    means = {key: np.mean([scene[key] for scene in calibrations], axis=0).tolist() for key in CALIBRATION_LISTS}
    sums = np.sum([scene["sums"] for scene in calibrations], axis=0)
    numbers = {**summary(sums, samples=row.sampling.ensemble), "sample_nfe": sampler.sample_nfe}
    return {"uncertainty": {**numbers, "interval_scale": sampler.interval_scale, **means}}


def _require_msi(method: Method, pair: Pair) -> None:
    if method.FUSES and pair.msi is None:
        raise DataError(
            f"{method.name} fuses the LR-HSI with an HR-MSI, and the pairs have none; set degradation.srf to a sensor, "
            "a table, or measured; or take it out of compare."
        )


def _warm_up(rows: list[_Row], pair: Pair, folder: Path, *, scale: int) -> None:
    """Predict a corner once, untimed: the first call allocates memory and selects kernels."""
    if min(pair.lr.shape[1:]) < _WARM_UP:
        return
    low, high = (np.s_[:, :edge, :edge] for edge in (_WARM_UP, _WARM_UP * scale))
    msi = None if pair.msi is None else pair.msi[high]
    corner = replace(pair, hr=pair.hr[high], lr=pair.lr[low], msi=msi)
    for row in rows:
        row.predict(corner, (0, 1), folder)


def _score_scene(
    row: _Row, pair: Pair, protocol: Protocol, response: NDArray[np.float64] | None, folder: Path
) -> tuple[Any, dict[str, float]]:
    """Return the row's prediction of a scene and its metrics."""
    started = time.perf_counter()
    prediction = row.predict(pair, protocol.conventions.prediction_range, folder)
    seconds = time.perf_counter() - started
    try:
        values = score(
            prediction,
            pair.hr,
            protocol.scale,
            lr=pair.lr,
            psf=protocol.psf,
            ergas_ratio=protocol.ergas_ratio,
            msi=pair.msi if row.method.FUSES else None,
            response=response,
            valid=pair.valid,
        )
    except DataError as error:
        raise DataError(f"{row.name} on {pair.name}: {error}") from error
    nfe = 0 if row.ceiling is not None else row.method.nfe
    return prediction, {**values, "seconds_per_image": seconds, "nfe": nfe}


def finite(tree: Any) -> Any:
    """Copy a tree with None for every number that JSON cannot represent."""
    if isinstance(tree, Mapping):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return None
    return tree


def _identity(pair: Pair) -> dict[str, Any]:
    """Return name, shape, digest and, if there are any, the share of pixels without data of a test scene."""
    share = {} if pair.valid is None else {NO_DATA: 1 - float(pair.valid.mean())}
    return {"scene": pair.name, "shape": list(pair.hr.shape), "sha256": pair_digest(pair), **share}


def pair_digest(pair: Pair) -> str:
    """Sha256 of shapes and values of truth and input, and of the mask if there is one, independent of the file."""
    digest = hashlib.sha256()
    for array in (pair.hr, pair.lr, *(() if pair.valid is None else (pair.valid,))):
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        for band in bands(array):
            digest.update(np.ascontiguousarray(band).data)
    return digest.hexdigest()
