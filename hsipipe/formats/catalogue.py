"""List the file formats. Add a format: write one file that declares a `CubeFormat` and add one line here."""

from hsipipe.formats.base import CubeFormat
from hsipipe.registry import Registry

# The first format that recognises a path opens it. Formats with suffixes come first: a GeoTIFF may have an ENVI
# header next to it. A folder is tested for an exact layout before it is tested for numbered images.
FORMATS: Registry[CubeFormat] = Registry(
    "file format",
    {
        "geotiff": "hsipipe.formats.geotiff:FORMAT",
        "hdf5": "hsipipe.formats.hdf5:FORMAT",
        "matlab": "hsipipe.formats.matlab:FORMAT",
        "netcdf": "hsipipe.formats.netcdf:FORMAT",
        "npy": "hsipipe.formats.npy:FORMAT",
        "npz": "hsipipe.formats.npz:FORMAT",
        "zarr": "hsipipe.formats.zarr_store:FORMAT",
        "envi": "hsipipe.formats.envi:FORMAT",
        "cave": "hsipipe.formats.cave_png:FORMAT",
        "bands": "hsipipe.formats.band_images:FORMAT",
    },
)
