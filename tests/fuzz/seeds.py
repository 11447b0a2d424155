"""Small valid files of every format and dialect, from which the fuzz targets start."""

import h5py
import numpy as np
import scipy.io
import tifffile
import xarray as xr
import zarr
from affine import Affine
from PIL import Image
from product_files import (
    ENMAP,
    sentinel2_values,
    write_desis,
    write_emit,
    write_enmap,
    write_hyperion,
    write_prisma,
    write_sentinel2,
    write_tanager,
)

from hsipipe import save_cube
from hsipipe.formats.georeference import attach
from hsipipe.formats.netcdf import save_classic

BANDS, ROWS, COLUMNS = 5, 6, 7
NM = np.linspace(400, 700, BANDS)


def cube():
    """A cube with wavelengths, widths, a position and attributes."""
    values = np.random.default_rng(0).random((BANDS, ROWS, COLUMNS), dtype=np.float32)
    coords = {"wavelength_nm": ("band", NM), "band_name": ("band", [f"b{k}" for k in range(BANDS)])}
    made = xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs={"title": "seed", "gsd_m": 4.0})
    return attach(made, crs="EPSG:32632", transform=Affine(4, 0, 500_000, 0, -4, 4_000_000))


def _envi(path):
    header = (
        f"ENVI\nsamples = {COLUMNS}\nlines = {ROWS}\nbands = {BANDS}\ndata type = 4\ninterleave = bil\n"
        "byte order = 0\nheader offset = 0\nwavelength units = Nanometers\n"
        f"wavelength = {{{', '.join(map(str, NM))}}}\nfwhm = {{{', '.join(['10'] * BANDS)}}}\n"
        "map info = {UTM, 1, 1, 500000, 4000000, 30, 30, 32, North, WGS-84, units=Meters}\n"
        f"band names = {{{', '.join(f'band {k}' for k in range(BANDS))}}}\ndata ignore value = -9999\n"
    )
    path.with_suffix(".hdr").write_text(header, encoding="utf-8")
    path.write_bytes(cube().to_numpy().transpose(1, 0, 2).tobytes())


def _mat5(path, *, do_compression):
    values = cube().to_numpy().transpose(1, 2, 0)
    tree = {"cube": values, "wavelength": NM, "info": {"nRow": ROWS, "nCol": COLUMNS, "name": "seed"}}
    scipy.io.savemat(path, tree, do_compression=do_compression)


def _mat73(path):
    with h5py.File(path, "w") as file:
        file["cube"] = cube().to_numpy().transpose(0, 2, 1)
        file["cube"].attrs["MATLAB_class"] = np.bytes_("single")
        file["wavelength"] = NM[None]
        file["wavelength"].attrs["MATLAB_class"] = np.bytes_("double")


def _hdf5(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("HDFEOS/SWATHS")
        data = group.create_dataset("radiance", data=(1000 * cube().to_numpy()).astype("i2"), compression="gzip")
        data.attrs.update({"scale_factor": 0.001, "add_offset": 0.0, "_FillValue": np.int16(-1)})
        group["wavelength"] = NM
        group["wavelength"].attrs["units"] = "nm"
        group["names"] = np.array([f"b{k}" for k in range(BANDS)], dtype="S4")


def _npz(path):
    np.savez_compressed(path, cube=cube().to_numpy(), wavelengths=NM)


def _zarr2(path):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array("refl", data=cube().to_numpy(), chunks=(BANDS, 3, COLUMNS))
    array.attrs.update({"_ARRAY_DIMENSIONS": ["band", "y", "x"], "_FillValue": -1.0})
    group.create_array("wavelength", data=NM).attrs.update({"_ARRAY_DIMENSIONS": ["band"], "units": "nm"})


def _pages(path):
    tifffile.imwrite(path, (255 * cube().to_numpy()).astype(np.uint8), photometric="minisblack", metadata=None)


def _tiled(path):
    tifffile.imwrite(
        path, cube().to_numpy(), tile=(16, 16), compression="deflate", planarconfig="separate", photometric="minisblack"
    )


def _stack(path):
    tifffile.imwrite(path, cube().to_numpy(), imagej=True, metadata={"axes": "ZYX"})


def _with_side_files(path):
    save_cube(cube(), path)
    path.with_name(path.name + ".aux.xml").write_text(
        "<PAMDataset><Metadata><MDI key='a'>b</MDI></Metadata><PAMRasterBand band='1'><Scale>2</Scale>"
        "<NoDataValue>0</NoDataValue></PAMRasterBand></PAMDataset>"
    )


def _cave(path):
    path.mkdir()
    for band in range(1, 32):
        Image.fromarray(np.full((ROWS, COLUMNS), 1000 * band, np.uint16)).save(path / f"seed_ms_{band:02d}.png")


def _bands(path):
    path.mkdir()
    for band in range(BANDS):
        tifffile.imwrite(path / f"scene_B{band + 1:02d}.tif", np.full((ROWS, COLUMNS), band, np.uint16))


def _enmap(path):
    write_enmap(path.parent, layers={"QUALITY_CLOUD": np.zeros((6, 8)), "PIXELMASK": np.zeros((6, 6, 8))})


def _desis(path):
    write_desis(path, quality=np.zeros((10, 6, 8)))


def _emit(path):
    found = write_emit(path.parent, mask=np.zeros((6, 8, 8)), band_mask=np.zeros((6, 8, 4), "u1"))
    for file in sorted(path.parent.iterdir()):
        file.rename(path if file == found else path.with_name(path.name.replace("_RFL_", "_MASK_")))


SEEDS = {
    "plain.npy": lambda path: save_cube(cube(), path),
    "archive.npz": _npz,
    "classic.nc": lambda path: save_classic(cube(), path),
    "four.nc": lambda path: save_cube(cube(), path),
    "eos.h5": _hdf5,
    "five.mat": lambda path: _mat5(path, do_compression=False),
    "packed.mat": lambda path: _mat5(path, do_compression=True),
    "seven.mat": _mat73,
    "samples.tif": lambda path: save_cube(cube(), path),
    "pages.tif": _pages,
    "tiled.tif": _tiled,
    "stack.tif": _stack,
    "pam.tif": _with_side_files,
    "raw.dat": _envi,
    "three.zarr": lambda path: save_cube(cube(), path),
    "two.zarr": _zarr2,
    "cave": _cave,
    "bands": _bands,
    f"{ENMAP}SPECTRAL_IMAGE.TIF": _enmap,
    "desis": _desis,
    "prisma.he5": write_prisma,
    "EMIT_RFL_1.nc": _emit,
    "tanager.h5": lambda path: write_tanager(path, layers={"beta_cloud_mask": np.zeros((6, 8))}),
    "swath.h5": lambda path: write_tanager(path, kind="SWATHS", facts="data sets"),
    "SAFE": lambda path: write_sentinel2(path, sentinel2_values(4, 6), scl=np.full((2, 3), 4)),
    "hyperion": write_hyperion,
}
"""Writer of each file or folder by its name."""


def files_of(folder):
    """Contents of all files in a folder by their relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def seeds(folder):
    """Write each seed into a separate folder; return the contents of its files by seed."""
    found = {}
    for name, write in SEEDS.items():
        (folder / name.replace(".", "_")).mkdir(parents=True)
        write(folder / name.replace(".", "_") / name)
        found[name] = files_of(folder / name.replace(".", "_"))
    return found
