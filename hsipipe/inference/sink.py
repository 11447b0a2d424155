"""Collect the shards of results in a folder next to them; a killed prediction resumes with the missing shards.

The folder ``.OUT.part`` holds ``made_of.json``, the values of each result, ``0.zarr``, ``1.zarr``, and a file of each
shard that is complete, with the statistics of its values, and the energies of its detail for the guard. A format that
is written in regions becomes the output by renaming; another one is written from a Zarr store in one pass. Under its
final name, a result is whole.
"""

import errno
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import AlreadyRunningError, DataError, IntegrityError
from hsipipe.formats import save_cube, writer
from hsipipe.formats.base import CubeFormat
from hsipipe.formats.packing import Packing
from hsipipe.formats.provenance import attach_provenance
from hsipipe.formats.zarr_store import FORMAT as ZARR
from hsipipe.inference.made_of import DONE, MADE_OF, begin
from hsipipe.inference.plan import BLOCK, Box, Plan
from hsipipe.inference.values_found import ValuesFound
from hsipipe.json_text import parse_json
from hsipipe.storage.publish import (
    discard,
    publish_file,
    publish_folder,
    sync_file,
    unfinished_folder,
    write_text,
)
from hsipipe.storage.shards import shard_file
from hsipipe.storage.space import check_space, size_text

_PUBLISHED, _WRITERS = "published.json", "writers"
_CHUNK_BYTES = 4 << 20
Image = NDArray[np.float32]
Energies = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Energy of the added detail by block, and its share in a grid; see :func:`hsipipe.inference.guard.box_detail`."""
Wrap = Callable[[Any], xr.DataArray]
"""Adds wavelengths, position and attributes to the values (C, H, W) of a result."""


class ShardSink:
    """The unfinished results of a prediction; :func:`open_sink` makes it.

    Args:
        folder: Folder of the parts.
        targets: Files of the results.
        plan: Shards of the scene.
        wrap: Wraps the values of a result.
        bands: Bands C of a result.
        scale: Ratio of the pixel sizes s.
        whence: Attributes of the results that say where they come from.
        packings: Integers in which the results are stored; None: float32.
        key: Key of :meth:`shared`; None: this process holds the lock.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Path],
        plan: Plan,
        *,
        wrap: Wrap,
        bands: int,
        scale: int,
        whence: Mapping[str, str],
        packings: Sequence[Packing | None],
        key: str | None = None,
    ) -> None:
        self._folder, self._targets, self._plan, self._wrap = folder, targets, plan, wrap
        self._bands, self._scale, self._whence, self._packings, self._key = bands, scale, whence, packings, key

    @property
    def missing(self) -> set[Box]:
        """The shards that are not complete."""
        return {box for box in self._plan.shards if not self._record(box).is_file()}

    def shared(self) -> "ShardSink":
        """Return a sink for other processes and machines, which writes only until the results are opened again."""
        key = uuid4().hex
        write_text(self._folder / _WRITERS, key)
        return ShardSink(
            self._folder,
            self._targets,
            self._plan,
            wrap=xr.DataArray,
            bands=self._bands,
            scale=self._scale,
            whence={},
            packings=self._packings,
            key=key,
        )

    def write(self, box: Box, images: Sequence[Image], energies: Energies | None) -> None:
        """Write a shard of each result, (C, H, W), in the units of the file.

        Raises:
            DataError: The disk is full.
            AlreadyRunningError: The sink was :meth:`shared`, and the results were opened again.
        """
        clipped, found = 0, None
        try:
            self._check_writer()
            for number, (image, packing) in enumerate(zip(images, self._packings, strict=True)):
                stored: NDArray[Any] = image
                if packing is not None:
                    stored, count = packing.pack(image)
                    image, clipped = packing.unpack(stored), clipped + count
                self._array(number)[box.slices(scale=self._scale)] = stored
                found = found or ValuesFound.of(image)
            self._sync(box)
            self._check_writer()
            tree: dict[str, Any] = {"clipped": clipped, "values": found and found.as_json()}
            tree |= {} if energies is None else {"detail": energies[0].tolist(), "grid": energies[1].tolist()}
            write_text(self._record(box), json.dumps(tree) + "\n")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DataError(
                f"The disk of {self._folder} is full ({error.strerror}); free {size_text(self.bytes_left())} and run "
                "the same command again; it writes the missing shards."
            ) from error

    @property
    def is_readable(self) -> bool:
        """False once a part of the first result was published."""
        form, part = self._part(0)
        return all(part.with_name(part.name + suffix).exists() for suffix in ("", *form.beside))

    @property
    def is_lost(self) -> bool:
        """True if a complete result is neither here nor under its name, since it was removed after a kill."""
        numbers = range(len(self._targets)) if any((self._folder / DONE).iterdir()) else ()
        return any(not self._part(n)[1].exists() and not self._is_published(n) for n in numbers)

    def read(self, box: Box) -> Image:
        """Read a part of the first result, (C, H, W), while it :attr:`is_readable`."""
        stored, packing = np.asarray(self._array(0)[box.slices(scale=self._scale)]), self._packings[0]
        return stored if packing is None else packing.unpack(stored)

    @property
    def clipped(self) -> int:
        """Number of values in all shards that were clipped to the range of their integers."""
        return sum(int(tree.get("clipped", 0)) for tree in self._records())

    @property
    def values(self) -> ValuesFound:
        """Statistics of the values of the first result in all shards, in the units of the file."""
        try:
            return ValuesFound.joined(ValuesFound(**tree["values"]) for tree in self._records())
        except (KeyError, TypeError) as error:
            raise IntegrityError(
                f"{self._folder} is damaged ({error}); remove it and run the command again."
            ) from error

    def _records(self) -> Iterator[dict[str, Any]]:
        paths = (self._record(box) for box in self._plan.shards)
        trees = (parse_json(path.read_text("utf-8")) for path in paths if path.is_file())
        return (tree for tree in trees if isinstance(tree, dict))

    def energies(self) -> Energies:
        """Return the energies of all blocks, which the shards hold.

        Raises:
            IntegrityError: The record of a shard is damaged.
        """
        size = Box(0, self._plan.height, 0, self._plan.width).blocks
        detail, grid = np.zeros(size), np.zeros(size)
        for box in self._plan.shards:
            path = self._record(box)
            rows, columns = (slice(a // BLOCK, -(-b // BLOCK)) for a, b in ((box.y0, box.y1), (box.x0, box.x1)))
            try:
                tree = parse_json(path.read_text("utf-8"))
                detail[rows, columns], grid[rows, columns] = tree["detail"], tree["grid"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise IntegrityError(f"{path} is damaged ({error}); remove it and run the command again.") from error
        return detail, grid

    def bytes_left(self) -> int:
        """Return the bytes that the results still need on the disk, with those of their parts."""
        whole = 4 * self._bands * self._plan.height * self._plan.width * self._scale**2
        part = sum(box.pixels for box in self.missing) * 4 * self._bands * self._scale**2
        copied = [target for target in self._targets if not writer(target).writes_regions]
        return part * len(self._targets) + sum(sum(writer(target).sizes(whole)) for target in copied)

    def check_space(self) -> None:
        """Check that the disk suffices.

        Raises:
            DataError: It does not.
        """
        check_space(self._targets[0], self.bytes_left(), files=0)

    def create(self) -> None:
        """Create the files of the parts, without their values."""
        rows, columns = self._plan.shard or (self._plan.height, self._plan.width)
        shape = (self._bands, self._plan.height * self._scale, self._plan.width * self._scale)
        shard = (self._bands, rows * self._scale, columns * self._scale)
        # Without missing shards, a part that is not there is published already.
        for number in range(len(self._targets)) if self.missing else ():
            form, part = self._part(number)
            if not part.exists():
                packing = self._packings[number]
                kind = np.dtype(np.float32 if packing is None else packing.dtype)
                template = self._result(number, da.zeros(shape, chunks=shard, dtype=kind))
                temporary = part.with_name(f"new{part.suffix}")
                discard(temporary)
                form.create(template, temporary, chunk=self._chunk(), shard=shard)
                _move(form, temporary, part)

    def publish(self) -> None:
        """Write the results to their files, the first one last, so that nothing is missing next to it.

        Raises:
            IntegrityError: A shard is missing.
        """
        if missing := self.missing:
            raise IntegrityError(f"{self._folder} lacks {len(missing)} shards; run the command again.")
        for number, target in reversed(list(enumerate(self._targets))):
            form, part = self._part(number)
            if self._is_published(number):  # before a kill
                continue
            if writer(target).writes_regions:
                self._note_published(number, part)  # a move keeps what identifies a file
                _move(form, part, target)
            else:
                save_cube(self._result(number, self._lazy(number)), target)
                self._note_published(number, target)
                discard(part)

    def _result(self, number: int, values: da.Array) -> xr.DataArray:
        packing = self._packings[number]
        attributes = {} if packing is None else packing.attributes
        return attach_provenance(self._wrap(values), self._whence).assign_attrs(attributes)

    def _lazy(self, number: int) -> da.Array:
        """Return a result in rows of chunks."""
        array = self._array(number)
        lazy: da.Array = da.from_array(array, chunks=(-1, array.chunks[1], -1), name=False)
        return lazy

    def _array(self, number: int) -> Any:
        form, part = self._part(number)
        return form.regions(part)

    def _part(self, number: int) -> tuple[CubeFormat, Path]:
        """Return the format and the file or folder in which the values of a result are collected."""
        target = self._targets[number]
        form, suffix = writer(target), target.suffix.lower()
        if not form.writes_regions:
            form, suffix = ZARR, ".zarr"
        return form, self._folder / f"{number}{suffix}"

    def _chunk(self) -> tuple[int, int, int]:
        return chunk_shape(self._plan, bands=self._bands, scale=self._scale)

    def _sync(self, box: Box) -> None:
        """Write a shard to the disk, so that its record is never there without its values, even after a power loss."""
        for number in range(len(self._targets)):
            form, part = self._part(number)
            if form.is_folder:
                array = self._array(number)
                _, rows, columns = array.shards
                place = (0, box.y0 * self._scale // rows, box.x0 * self._scale // columns)
                sync_file(shard_file(array, place), within=part)
            else:
                sync_file(part, within=self._folder)

    def _check_writer(self) -> None:
        path = self._folder / _WRITERS
        if self._key is not None and not (path.is_file() and path.read_text("utf-8") == self._key):
            raise AlreadyRunningError(
                f"{path} is not that of this run: another run of the command writes the result, or this worker has "
                "another file system; give all workers the same folders under the same paths."
            )

    def _is_published(self, number: int) -> bool:
        found = _identity(self._targets[number])
        return found is not None and found == self._published().get(str(number))

    def _note_published(self, number: int, path: Path) -> None:
        noted = self._published() | {str(number): _identity(path)}
        write_text(self._folder / _PUBLISHED, json.dumps(noted) + "\n")

    def _published(self) -> dict[str, Any]:
        path = self._folder / _PUBLISHED
        return dict(parse_json(path.read_text("utf-8"))) if path.is_file() else {}

    def _record(self, box: Box) -> Path:
        return self._folder / DONE / f"{box.y0}_{box.x0}.json"


@contextmanager
def open_sink(
    targets: Sequence[Path],
    plan: Plan,
    *,
    wrap: Wrap,
    bands: int,
    scale: int,
    made_of: Mapping[str, Any],
    provenance: Mapping[str, str],
    packings: Sequence[Packing | None] | None = None,
) -> Iterator[ShardSink]:
    """Open the unfinished results of a prediction, or begin them; the folder goes when the body succeeds.

    On an error it stays if a shard is complete.

    Args:
        targets: Files of the results, the prediction first.
        plan: Shards of the scene.
        wrap: Wraps the values (C, H, W) of a result, a Dask array.
        bands: Bands C of a result.
        scale: Ratio of the pixel sizes s.
        made_of: What the values depend on: digests and options, as plain JSON.
        provenance: Attributes of the results that say where they come from. Unfinished results keep theirs, whose date
            is that of their begin.
        packings: Integers in which the results are stored, one for each; None: all are float32.

    Raises:
        ParamsError: The unfinished results are made of something else; the message says what differs.
        AlreadyRunningError: Another process writes them.
    """
    with unfinished_folder(targets[0]) as folder:
        whence = begin(folder, dict(made_of), shards=len(plan.shards), provenance=dict(provenance))
        sink = ShardSink(
            folder,
            targets,
            plan,
            wrap=wrap,
            bands=bands,
            scale=scale,
            whence=whence,
            packings=packings or [None] * len(targets),
        )
        discard(folder / _WRITERS)  # workers of a killed run may still be at work
        (folder / DONE).mkdir(exist_ok=True)
        if sink.is_lost:
            for entry in folder.iterdir():
                if entry.name != MADE_OF:
                    discard(entry)
            (folder / DONE).mkdir()
        try:
            yield sink
        except BaseException:
            if not any((folder / DONE).iterdir()):
                discard(folder)
            raise
        discard(folder)


def chunk_shape(plan: Plan, *, bands: int, scale: int) -> tuple[int, int, int]:
    """Return the shape (C, rows, columns) of a chunk in HR pixels: of at most 4 MiB, if blocks of the guard are."""
    shard = plan.shard or (plan.height, plan.width)

    def edge(n: int) -> int:
        fitting = [m for m in range(BLOCK, n + 1, BLOCK) if n % m == 0 and bands * (m * scale) ** 2 * 4 <= _CHUNK_BYTES]
        return max(fitting, default=min(BLOCK, n)) * scale

    return bands, edge(shard[0]), edge(shard[1])


def _move(form: CubeFormat, part: Path, path: Path) -> None:
    if form.is_folder:
        publish_folder(part, path)
    else:
        publish_file(part, path, beside=form.beside)


def _identity(path: Path) -> list[int] | None:
    """Return what a file, or the metadata of a Zarr store, keeps when it is moved; None: it is not there."""
    try:
        found = (path / "zarr.json" if path.is_dir() else path).stat()
    except FileNotFoundError:
        return None
    return [found.st_ino, found.st_size, found.st_mtime_ns]
