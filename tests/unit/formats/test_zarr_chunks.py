"""Chunks as programs write them pass the check of what they unpack to."""

import lzma
import math
import warnings

import numcodecs
import numpy as np
import pytest
import zarr

from hsipipe import open_cube
from hsipipe.errors import FileFormatError

VALUES = np.round(np.random.default_rng(0).random((5, 12, 10), dtype=np.float32), 2)
COUNTS = (100 * VALUES).astype(np.uint16)


def store(path, values, **codecs):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array("cube", shape=values.shape, dtype=values.dtype, chunks=values.shape, **codecs)
    array.attrs["_ARRAY_DIMENSIONS"] = ["band", "y", "x"]
    array[...] = values
    return path


@pytest.mark.parametrize(
    ("values", "codecs"),
    [
        (VALUES, {"filters": [numcodecs.AsType("f8", "f4")], "compressors": numcodecs.Zlib()}),
        (COUNTS, {"filters": [numcodecs.Delta("u2", "i4")], "compressors": numcodecs.Zlib()}),
        (COUNTS, {"filters": [numcodecs.FixedScaleOffset(0, 1, "u2", "f8")], "compressors": numcodecs.Zstd()}),
        (VALUES, {"compressors": numcodecs.GZip()}),
        (VALUES, {"compressors": numcodecs.BZ2()}),
        (VALUES, {"compressors": numcodecs.LZMA(format=lzma.FORMAT_XZ)}),
        (VALUES, {"compressors": numcodecs.LZ4()}),
        (VALUES, {"compressors": numcodecs.Blosc()}),
    ],
    ids=lambda entry: "-".join(entry) if isinstance(entry, dict) else entry.dtype.name,
)
def test_codecs_and_filters_open(tmp_path, values, codecs):
    np.testing.assert_allclose(open_cube(store(tmp_path / "a.zarr", values, **codecs)), values.astype(np.float32))


def test_a_zstd_frame_without_its_size_opens(tmp_path):
    path = store(tmp_path / "a.zarr", VALUES, compressors=numcodecs.Zstd())
    raw = VALUES.tobytes()
    # As a streaming writer makes it: no content size, one raw block.
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + (1 | len(raw) << 3).to_bytes(3, "little") + raw
    (path / "cube" / "0.0.0").write_bytes(frame)
    np.testing.assert_array_equal(open_cube(path), VALUES)


@pytest.mark.parametrize("place", ["start", "end"])
@pytest.mark.parametrize("whole", [True, False])
def test_shards_open_whole_and_in_part(tmp_path, place, whole):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    codec = zarr.codecs.ShardingCodec(
        chunk_shape=(5, 6, 5), codecs=[zarr.codecs.BytesCodec(), zarr.codecs.ZstdCodec()], index_location=place
    )
    array = group.create_array(
        "cube", shape=VALUES.shape, dtype="f4", chunks=(5, 12, 10), serializer=codec, compressors=None,
        dimension_names=("band", "y", "x"),
    )  # fmt: skip
    array[...] = VALUES
    cube = open_cube(tmp_path / "a.zarr")
    chosen = (slice(None),) if whole else (slice(1, 3), slice(0, 4), slice(6, 9))
    np.testing.assert_array_equal(cube[chosen], VALUES[chosen])


def test_shards_that_are_compressed_as_a_whole_are_refused_with_the_way(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    codec = zarr.codecs.ShardingCodec(chunk_shape=(5, 6, 5))
    with pytest.warns(zarr.errors.ZarrUserWarning, match="partial reads"):
        group.create_array(
            "cube", shape=VALUES.shape, dtype="f4", chunks=(5, 12, 10), serializer=codec,
            compressors=[zarr.codecs.GzipCodec()], dimension_names=("band", "y", "x"),
        )  # fmt: skip
    with (
        warnings.catch_warnings(action="ignore", category=zarr.errors.ZarrUserWarning),
        pytest.raises(FileFormatError, match="compress the chunks inside"),
    ):
        open_cube(tmp_path / "a.zarr").load()


def test_a_chunk_that_holds_a_second_stream_is_refused(tmp_path):
    path = store(tmp_path / "a.zarr", VALUES, compressors=numcodecs.Zstd())
    more = numcodecs.Zstd().encode(bytes(256 << 20))
    (path / "cube" / "0.0.0").write_bytes(numcodecs.Zstd().encode(VALUES.tobytes()) + more)
    size = 4 * math.prod(VALUES.shape)
    with pytest.raises(FileFormatError, match=f"far more than the {size} of its array"):
        open_cube(path).load()
