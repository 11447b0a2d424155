"""Large inputs of each format are read by windows: the peak of the memory is that of windows, not of the file."""

import json
import subprocess
import sys

import h5py
import pytest
import rasterio
import zarr

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BANDS, EDGE = 60, 1600
BYTES = 4 * BANDS * EDGE**2
MOST_BYTES = 300 << 20
"""Peak of a pass in strips of 64 MiB at most, which are read, scaled and checked; the scene has 614 MB."""
_PASS = """
import json, sys
from pathlib import Path
from hsipipe.formats import open_cube
from hsipipe.inference.source import survey

def memory(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(which))

for large, small in zip(sys.argv[1::2], sys.argv[2::2]):
    open_cube(small, bands=60).load()  # what the reader imports
    cube = open_cube(large, bands=60)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from here on
    before = memory("VmRSS")
    survey(cube, "scene", full_scale=1.0, example="")
    taken = memory("VmHWM") - before
    print(json.dumps({"shape": cube.shape, "lazy": cube.chunks is not None, "taken": taken}))
"""


def envi(path, edge, interleave):
    path.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {edge}\nlines = {edge}\nbands = {BANDS}\nheader offset = 0\ndata type = 4\n"
        f"interleave = {interleave}\nbyte order = 0\n"
    )
    with path.open("wb") as stream:
        stream.truncate(4 * BANDS * edge**2)


def tiff(path, edge, **profile):
    size = {"width": edge, "height": edge, "count": BANDS, "dtype": "float32", "BIGTIFF": "YES"}
    where = {"crs": 32632, "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)}
    with rasterio.open(path, "w", driver="GTiff", **size, **where, **profile):
        pass


def hdf5(path, edge, *, userblock=0, chunks=(20, 200, 200)):
    with h5py.File(path, "w", userblock_size=userblock) as file:
        chunks = None if chunks is None else tuple(min(a, b) for a, b in zip(chunks, (BANDS, edge, edge), strict=True))
        file.create_dataset("cube", (BANDS, edge, edge), "f4", chunks=chunks, compression=chunks and "gzip")
        file["cube"][:, :1, :] = 0.5
    if userblock:
        head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
        with path.open("r+b") as stream:
            stream.write(head)


def store(path, edge, version, chunks):
    chunks = tuple(min(a, b) for a, b in zip(chunks, (BANDS, edge, edge), strict=True))
    group = zarr.create_group(path, zarr_format=version)
    group.create_array("cube", shape=(BANDS, edge, edge), chunks=chunks, dtype="f4")


MAKERS = {
    "bil.dat": lambda path, edge: envi(path, edge, "bil"),
    "bip.dat": lambda path, edge: envi(path, edge, "bip"),
    "bsq.dat": lambda path, edge: envi(path, edge, "bsq"),
    "tiled.tif": lambda path, edge: tiff(path, edge, tiled=True, interleave="band"),
    "pixels.tif": lambda path, edge: tiff(path, edge, tiled=True, interleave="pixel"),
    "strips.tif": lambda path, edge: tiff(path, edge, interleave="band"),
    "rows.zarr": lambda path, edge: store(path, edge, 3, (BANDS, 10, EDGE)),
    "cubes.zarr": lambda path, edge: store(path, edge, 2, (20, 200, 200)),
    "chunks.h5": hdf5,
    "plain.h5": lambda path, edge: hdf5(path, edge, chunks=None),
    "x.mat": lambda path, edge: hdf5(path, edge, userblock=512),
}


def test_a_pass_takes_windows(tmp_path):
    (tmp_path / "small").mkdir()
    words = []
    for name, make in MAKERS.items():
        for path, edge in [(tmp_path / name, EDGE), (tmp_path / "small" / name, 16)]:
            make(path, edge)
            words.append(path)
    done = subprocess.run([sys.executable, "-c", _PASS, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(zip(MAKERS, map(json.loads, done.stdout.splitlines()), strict=True))
    assert {name for name, facts in found.items() if facts["shape"] != [BANDS, EDGE, EDGE]} == set()
    assert {name for name, facts in found.items() if not facts["lazy"]} == set()
    taken = {name: facts["taken"] for name, facts in found.items()}
    assert {name: size for name, size in taken.items() if size > MOST_BYTES} == {}, taken
