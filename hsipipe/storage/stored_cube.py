"""Cubes in files that are read by slices: an array of a store, and a file of raw numbers that is written, too."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from hsipipe.storage.space import check_space, create_file
from hsipipe.storage.stores import read

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True, eq=False)
class StoreCube:
    """An array (C, H, W) of a store.

    Attributes:
        array: The array.
    """

    array: "zarr.Array[Any]"

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, rows and columns."""
        return self.array.shape

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        """Read a part by slices, one for each axis from the first, or after an ellipsis.

        Raises:
            IntegrityError: A file of the store is missing or damaged.
        """
        return read(self.array, index)

    def __len__(self) -> int:
        """Return the number of bands."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Return all values."""
        del copy
        return np.asarray(self[...], dtype=dtype)


@dataclass(frozen=True)
class StoredCube:
    """An array (C, H, W) in a .npy file; indices are those of NumPy.

    The file is mapped for each access alone: the pages of an open map would count as memory of the process.

    Attributes:
        path: The file.
        shape: Bands, rows and columns.
    """

    path: Path
    shape: tuple[int, int, int]

    @classmethod
    def create(cls, path: Path, shape: tuple[int, int, int]) -> Self:
        """Create a file of zeros, float32.

        Raises:
            DataError: The disk is too small.
        """
        check_space(path, 4 * shape[0] * shape[1] * shape[2])
        open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        create_file(path, path.stat().st_size)
        return cls(path, shape)

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Type of the values."""
        return np.dtype(np.float32)

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        bands, height, width = self.shape
        return self.dtype.itemsize * bands * height * width

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        """Copy a part."""
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False)[index])

    def __setitem__(self, index: tuple[slice, ...], values: NDArray[np.float32]) -> None:
        """Write a part of all bands, ``[:, rows]`` or ``[:, rows, columns]``, band by band."""
        for band, plane in enumerate(values):
            np.load(self.path, mmap_mode="r+", allow_pickle=False)[(band, *index[1:])] = plane

    def __len__(self) -> int:
        """Return the number of bands."""
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Iterate over the bands (H, W)."""
        return (self[band] for band in range(len(self)))

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Return all values."""
        del copy
        return np.asarray(self[:], dtype=dtype)
