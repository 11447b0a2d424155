"""Predict new scenes as a flow: a task for each scene, whose failure does not stop the others."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.prefect_support.zombie_runs import forget_run, note_run
from hsipipe.checkout import find_root
from hsipipe.commands.batch_scenes import BatchScene
from hsipipe.commands.predict_batch import Batch, BatchOptions, Outcome, check_outcomes
from hsipipe.errors import DataError
from hsipipe.inference.inputs import OVERLAP, TILE
from hsipipe.storage.urls import place_of


@flow(
    name="products",
    on_completion=[forget_run],
    on_failure=[forget_run],
    on_crashed=[forget_run],
    on_cancellation=[forget_run],
)
def products(
    scenes: str,
    out: str,
    model: str,
    suffix: str = ".zarr",
    asset: str | None = None,
    full_scale: float = 1.0,
    tile: int = TILE,
    overlap: int = OVERLAP,
    quiet_s: float = 60.0,
) -> str:
    """Predict the new scenes of a folder or of a list, as `hsipipe predict-batch`.

    Args:
        scenes: Folder with the scenes, or a file or an address of STAC items.
        out: Folder of the products and their records.
        model: Folder or registry URI; an alias is resolved at the start of each run.
        suffix: Suffix of the products.
        asset: Key of the asset of each item.
        full_scale: Scale factor: input value that maps to 1.0.
        tile: Edge of a tile in input pixels.
        overlap: Input pixels of context around a tile.
        quiet_s: Seconds since the last change of a scene before it is read.

    Returns:
        The counts of the outcomes.
    """
    note_run(find_root())
    options = BatchOptions(full_scale=full_scale, tile=tile, overlap=overlap, quiet_s=quiet_s)
    batch = Batch(place_of(scenes), Path(out), model=model, suffix=suffix, asset=asset, options=options)
    made = [product.with_options(task_run_name=scene.name)(batch, scene, return_state=True) for scene in batch.scenes]
    return check_outcomes([_outcome(scene, state) for scene, state in zip(batch.scenes, made, strict=True)])


@task(cache_policy=NO_CACHE)
def product(batch: Batch, scene: BatchScene) -> Outcome:
    """Predict a scene, unless its product is there.

    Raises:
        DataError: It failed; the message says why.
    """
    outcome = batch.predict(scene)
    if outcome.kind == "failed":
        raise DataError(outcome.line())
    get_run_logger().info(outcome.line())
    return outcome


def _outcome(scene: BatchScene, state: Any) -> Outcome:
    found = state.result(raise_on_failure=False)
    return found if isinstance(found, Outcome) else Outcome(scene.name, "failed", str(found))
