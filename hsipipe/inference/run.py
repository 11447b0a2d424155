"""Predict a scene from its source to its sink: one thread each reads, predicts, blends and writes.

The values are those of :func:`hsipipe.inference.scene.predict_scene` of the whole cube, bit for bit.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.inference.blend import Blending, blend_of
from hsipipe.inference.guard import Judgement, box_detail, coarser_box, coarser_gain_db, judgement_of, lr_psf
from hsipipe.inference.plan import Box, Plan, Step
from hsipipe.inference.same_bits import same_bits
from hsipipe.inference.scene import Window, context_of
from hsipipe.inference.sink import Energies, ShardSink
from hsipipe.inference.source import SceneSource
from hsipipe.inference.statistics import Statistic, spread_of, tile_images
from hsipipe.methods.super_resolver import SceneResolver, SuperResolver
from hsipipe.progress import progress

WAITING = 1
"""Tasks of a thread that wait while it does another one."""
Image = NDArray[np.float32]
Result = TypeVar("Result")


def goes_in_windows(model: SuperResolver) -> bool:
    """Return True for a model whose tiles depend on nothing but their pixels and statistics of the scene by rows."""
    return not getattr(model, "WHOLE_SCENE", False)


class _Worker:
    """A thread that does one task after the other; few wait, so that what they hold is bounded.

    Leaving the context waits for all of them. The first error of a task is raised by the next call, or at the end.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._tasks: deque[Future[Any]] = deque()

    def submit(self, function: Callable[..., Result], *arguments: Any) -> "Future[Result]":
        while len(self._tasks) > WAITING:
            self._tasks.popleft().result()
        task = self._pool.submit(function, *arguments)
        self._tasks.append(task)
        return task

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        for task in self._tasks if kind is None else ():
            task.result()


class _Blends:
    """The open shards; each goes to the writer with its last tile."""

    def __init__(self, work: "WindowPrediction", images: int, writer: _Worker) -> None:
        self._work, self._images, self._writer = work, images, writer
        self._open: dict[Box, Blending] = {}

    def add(self, step: Step, tile: Box, images: Sequence[Image]) -> None:
        """Add a tile to the open shards, and hand on those that are complete after the last tile of a step."""
        for box in step.shards:
            if box not in self._open:
                bands, plan = self._work.source.shape[0], self._work.plan
                self._open[box] = blend_of(self._work.model, box, plan, bands=bands, count=self._images)
            self._open[box].add(tile, images)
        for box in step.done if tile == step.tiles[-1] else ():
            self._writer.submit(self._work.write, box, self._open.pop(box))


@dataclass(frozen=True)
class WindowPrediction:
    """A prediction in windows.

    Attributes:
        model: A model that :func:`goes_in_windows`.
        source: The LR-HSI.
        sink: The results.
        plan: Tiles and shards.
        statistics: The results, in the order of the sink.
        count: Number K of samples; None: no samples.
        is_guarded: Judge the prediction, see :mod:`hsipipe.inference.guard`.
        msi: The HR-MSI, for a fusion model.
    """

    model: SuperResolver
    source: SceneSource
    sink: ShardSink
    plan: Plan
    statistics: Sequence[Statistic]
    count: int | None
    is_guarded: bool
    msi: SceneSource | None = None

    def run(self, *, side_by_side: int) -> None:
        """Predict and write the missing shards.

        Args:
            side_by_side: Number of columns of shards that are held at the same time.

        Raises:
            ModelInputError: The model refuses the values.
            DataError: The disk is full.
        """
        steps = list(self.plan.steps(self.sink.missing, side_by_side=side_by_side))
        if steps:
            self.take(steps, self.bound())

    @same_bits()
    def take(self, steps: Sequence[Step], model: SuperResolver) -> None:
        """Predict and write the shards of steps.

        Args:
            steps: Rows of tiles.
            model: The model as :meth:`bound`.

        Raises:
            ModelInputError: The model refuses the values.
            DataError: The disk is full.
        """
        (predict, images), context = tile_images(model, self.count), context_of(model)

        def read(step: Step) -> Window:
            box = step.window.grown(context, self.plan.scene)
            msi = None if self.msi is None else self.msi.read(Box(*(self.model.scale * edge for edge in box)))
            return Window(box, self.source.read(box), msi, self.model.scale)

        total = sum(len(step.tiles) for step in steps)
        with (
            progress("predict", total) as advance,
            _Worker() as writer,
            _Worker() as blender,
            _Worker() as reader,
        ):
            blends = _Blends(self, images, writer)
            reading = [reader.submit(read, step) for step in steps[:1]]
            for number, step in enumerate(steps):
                window = reading.pop().result()
                reading += [reader.submit(read, next_one) for next_one in steps[number + 1 :][:1]]
                for tile in step.tiles:
                    blender.submit(blends.add, step, tile, predict(window.piece(tile, context=context)))
                    advance()

    def doubts(self) -> list[str]:
        """Return what speaks against the prediction, one sentence each, after :meth:`run`."""
        judgement = self.judgement()
        return [] if judgement is None else judgement.warnings()

    @same_bits()
    def judgement(self) -> Judgement | None:
        """Judge the prediction after :meth:`run`; return None if it is not guarded."""
        if not self.is_guarded:
            return None
        gain, scale = None, self.model.scale
        if (box := coarser_box(self.plan.height, self.plan.width, scale=scale)) is not None:
            place: dict[str, Any] = {"tile": self.plan.tile, "overlap": self.plan.overlap}
            msi = None if self.msi is None else self.msi.read(Box(*(scale * edge for edge in box)))
            gain = coarser_gain_db(self.model, self.source.read(box), msi=msi, psf=lr_psf(self.model), **place)
        return judgement_of(gain, *self.sink.energies())

    def write(self, box: Box, blend: Blending) -> None:
        """Write the results of a shard, and judge it."""
        images = blend.result()
        prediction = images[0]
        spread = spread_of(self.model, images, self.count)
        energies = self._energies(box, prediction)
        results = (statistic.of(prediction, spread) for statistic in self.statistics)
        self.sink.write(box, [self._in_units(box, image) for image in results], energies)

    def _energies(self, box: Box, prediction: Image) -> Energies | None:
        if not self.is_guarded:
            return None
        if self.model.scale == 1 or self.msi is not None:  # as in :func:`hsipipe.inference.guard.judge`
            return np.zeros(box.blocks), np.zeros(box.blocks)
        shape = (self.plan.height, self.plan.width)
        return box_detail(self.source.read, shape, box, prediction, scale=self.model.scale, psf=lr_psf(self.model))

    def _in_units(self, box: Box, image: Image) -> Image:
        """Convert a result to the units of the file, NaN where there is no data."""
        values = image if self.source.full_scale == 1 else image * np.float32(self.source.full_scale)
        scale = self.model.scale
        if self.source.holes is not None:
            holes = self.source.holes.mask[box.slices()[1:]].repeat(scale, axis=0).repeat(scale, axis=1)
            values[:, holes] = np.nan
        if self.msi is not None and self.msi.holes is not None:
            values[:, self.msi.holes.mask[box.slices(scale=scale)[1:]]] = np.nan
        return values

    @same_bits()
    def bound(self) -> SuperResolver:
        """Bind a model that needs statistics of the scene to it, which reads the scene once."""
        if self.msi is None or not isinstance(self.model, SceneResolver):
            return self.model
        return self.model.for_scene(self.source, self.msi)
