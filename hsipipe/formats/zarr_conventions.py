"""Write the position of a cube as the Zarr conventions ``proj:`` and ``spatial:`` name it.

The grid mapping of CF says the same; programs for maps in Zarr read these attributes of the group. Sources:
https://github.com/zarr-conventions/geo-proj, https://github.com/zarr-conventions/spatial, version 1 of both.
"""

from typing import Any

import xarray as xr

from hsipipe.formats.georeference import crs_of, transform_of

_URL = "https://github.com/zarr-conventions"
_RAW_URL = "https://raw.githubusercontent.com/zarr-conventions"
_UUIDS = {"geo-proj": "f17cb550-5864-4468-aeb7-f3180cfb622f", "spatial": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4"}


def convention_attributes(cube: xr.DataArray) -> dict[str, Any]:
    """Return the attributes of a group with this cube (band, y, x); empty without a position."""
    crs, transform = crs_of(cube), transform_of(cube)
    found: dict[str, Any] = {}
    used = []
    if crs is not None:
        code = crs.to_epsg()
        found |= {"proj:code": f"EPSG:{code}"} if code is not None else {"proj:wkt2": crs.to_wkt()}
        used.append(_entry("geo-proj", name="proj:"))
    if transform is not None:
        found |= {
            "spatial:dimensions": ["y", "x"],
            "spatial:shape": [cube.sizes["y"], cube.sizes["x"]],
            "spatial:transform_type": "affine",
            "spatial:transform": list(transform)[:6],
        }
        used.append(_entry("spatial", name="spatial:"))
    return {"zarr_conventions": used, **found} if used else {}


def _entry(repository: str, *, name: str) -> dict[str, str]:
    return {
        "schema_url": f"{_RAW_URL}/{repository}/refs/tags/v1/schema.json",
        "spec_url": f"{_URL}/{repository}/blob/v1/README.md",
        "uuid": _UUIDS[repository],
        "name": name,
    }
