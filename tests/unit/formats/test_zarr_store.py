"""Stores that somebody made who means harm."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube

RESHAPE = {"id": "astype", "encode_dtype": "<f4", "decode_dtype": "<f4"}
PICKLE = {"id": "pickle"}


class Harm:
    """Unpickled, it makes a file."""

    def __init__(self, sign):
        self.sign = sign

    def __reduce__(self):
        return Path.touch, (self.sign,)


def write_array(folder, dims, shape, chunk, **meta):
    folder.mkdir()
    plain = {"zarr_format": 2, "order": "C", "fill_value": None, "dtype": "<f4", "compressor": None, "filters": None}
    (folder / ".zarray").write_text(json.dumps({**plain, "shape": shape, "chunks": shape, **meta}))
    (folder / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}))
    (folder / ".".join("0" * len(shape))).write_bytes(chunk)


@pytest.mark.parametrize("axes", [3, 1])
@pytest.mark.parametrize(
    "codecs",
    [
        {"compressor": PICKLE},
        {"filters": [PICKLE]},
        {"filters": [RESHAPE, PICKLE]},
        {"dtype": "|O", "filters": [PICKLE]},
        {"dtype": "|O", "filters": [{"id": "vlen-utf8"}], "compressor": PICKLE},
    ],
)
def test_a_store_whose_codec_runs_code_is_refused(tmp_path, codecs, axes):
    store, sign = tmp_path / "x.zarr", tmp_path / "harmed"
    store.mkdir()
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    harmful, harmless = (pickle.dumps(Harm(sign)), codecs), (np.zeros((3, 8, 8), np.float32).tobytes(), {})
    chunk, meta = harmful if axes == 3 else harmless
    write_array(store / "cube", ["band", "y", "x"], [3, 8, 8], chunk, **meta)
    if axes == 1:
        write_array(store / "wavelength", ["band"], [3], *harmful[:1], **codecs)
    with pytest.raises(FileFormatError, match=r"x\.zarr: the array .* run code"):
        open_cube(store).to_numpy()
    assert not sign.exists()
