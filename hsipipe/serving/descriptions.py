"""Describe the interface for OpenAPI: the answers of the routes, and every status with an example."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hsipipe.serving.failures import INTERNAL
from hsipipe.serving.limits import LARGER
from hsipipe.serving.uploads import FORM, KINDS


class Failure(BaseModel):
    """A refusal or an error."""

    error: str = Field(description="Got, expected, how to fix, in one line.")


class Health(BaseModel):
    """The model predicts."""

    status: str = Field(description="ok", examples=["ok"])


class Refresh(BaseModel):
    """Answer to a refresh."""

    started: bool = Field(description="False: one switch is running and another is queued.", examples=[True])


class Switch(BaseModel):
    """A switch to another version that failed."""

    at: str = Field(description="Time, UTC.")
    error: str


class Units(BaseModel):
    """Units of the numbers of a model and of its cubes."""

    wavelength_nm: str = "nm"
    value_range: str = "fraction of the full scale; full_scale of the query is the value of a cube that maps to 1.0"
    scale: str = "LR pixel size over HR pixel size"


class ModelDescription(BaseModel):
    """The model in service."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "hsipipe-synthetic-x4",
                "version": "3",
                "uri": "models:/hsipipe-synthetic-x4/3",
                "sha256": "9f2c" + 60 * "0",
                "kind": "pca-residual",
                "scale": 4,
                "bands": 4,
                "msi_bands": 0,
                "wavelength_nm": [450.0, 550.0, 650.0, 850.0],
                "value_range": [0.0, 0.98],
                "units": Units().model_dump(),
                "since": "2026-01-01T12:00:00+00:00",
                "is_switching": False,
                "last_failed_switch": {
                    "at": "2026-01-01T18:00:00+00:00",
                    "error": "not loaded within 600 s; check the registry.",
                },
            }
        }
    )

    name: str = Field(description="Name of the model.")
    version: str = Field(description="Version in the registry, or the start of the digest of a folder.")
    uri: str = Field(description="URI in the registry, or the folder.")
    sha256: str = Field(description="Digest of the model's folder.")
    kind: str = Field(description="Method.")
    scale: int = Field(description="Ratio of the pixel sizes s: (C, h, w) becomes (C, s h, s w).")
    bands: int | None = Field(description="Bands C of a cube; null: any number.")
    msi_bands: int | None = Field(description="Bands of the HR-MSI; 0: it takes none; null: any number.")
    wavelength_nm: list[float] | None = Field(description="Band centres of the training in nm; null: not known.")
    value_range: tuple[float, float] | None = Field(
        description="Smallest and largest value of the LR images of the training; null: not known."
    )
    units: Units = Units()
    since: str = Field(description="Start of service, UTC.")
    is_switching: bool = Field(description="Another version is being loaded.")
    last_failed_switch: Switch | None = Field(description="The last switch that failed.")


_REFUSALS: Mapping[int, tuple[str, str]] = {
    400: (
        "The request, its query or its cube is invalid.",
        "overlap (40) must be less than half of tile (64).",
    ),
    401: (
        "The token is missing or wrong.",
        "Send the header Authorization: Bearer <HSIPIPE_SERVER_TOKEN of the server>.",
    ),
    403: (
        "A web page of another site, or a client that may not refresh.",
        "Got the Origin 'http://other.example', a request of the web page of another site, expected none; use a "
        "program such as curl.",
    ),
    408: ("Head or body came too slowly.", "The body did not arrive within 120 s."),
    413: (
        "The body, the result or a tile is too large.",
        f"Got a body of 536870912 bytes, expected at most 268435456; {LARGER}.",
    ),
    415: (
        "The body is no known format.",
        "lr begins like no known cube, expected NumPy .npy (application/x-npy), classic NetCDF (application/x-netcdf), "
        "GeoTIFF (image/tiff).",
    ),
    421: (
        "The Host is not a name of the server.",
        "Got the Host 'other.example', expected localhost, 127.0.0.1, [::1]; use such an address, or start the server "
        "with --allowed-host.",
    ),
    500: ("The server failed.", INTERNAL),
    503: (
        "The server is busy, is shutting down, or its model does not predict. With the header Retry-After: try again.",
        "17 predictions are waiting already; try again later.",
    ),
    504: ("The prediction took too long.", f"The prediction took longer than 300 s; {LARGER}."),
}
_EVERY = (400, 403, 408, 413, 421, 500, 503)
"""Statuses of any route: its head is checked before, and a connection may be refused."""


def refusals(*more: int) -> dict[int | str, dict[str, Any]]:
    """Describe the statuses that every route may answer with, and more of this route."""
    return {status: _refusal(status) for status in sorted({*_EVERY, *more})}


def _refusal(status: int) -> dict[str, Any]:
    description, error = _REFUSALS[status]
    return {
        "model": Failure,
        "description": description,
        "content": {"application/json": {"example": {"error": error}}},
    }


def prediction() -> dict[int | str, dict[str, Any]]:
    """Describe the answer of a prediction."""
    texts = {
        "X-Model-Name": ("Name of the model.", "hsipipe-synthetic-x4"),
        "X-Model-Version": ("Its version.", "3"),
        "X-Model-Sha256": ("Digest of its folder.", "9f2c" + 60 * "0"),
        "X-Note": ("Notes for the user, where there are any.", "the cube states no wavelengths."),
    }
    headers = {
        name: {"description": text, "schema": {"type": "string"}, "example": example}
        for name, (text, example) in texts.items()
    }
    cube = {"schema": {"type": "string", "format": "binary"}}
    content = {kind.media: {**cube, "example": f"(the bytes of a {kind.title} file)"} for kind in KINDS}
    description = (
        f"The HR cube in the format of the LR cube. With the header Accept: {FORM} a form: facts (JSON with shape, "
        "input_shape, colours and notes), input and result (PNG), sr (the file)."
    )
    form = {"schema": {"type": "object"}, "example": "(the parts facts, input, result, sr)"}
    return {200: {"description": description, "headers": headers, "content": {**content, FORM: form}}}


def metrics() -> dict[int | str, dict[str, Any]]:
    """Describe the answer with the metrics."""
    example = 'hsipipe_requests_total{route="/predict",status="200"} 12.0'
    text = {"schema": {"type": "string"}, "example": example}
    return {200: {"description": "Text of Prometheus.", "content": {"text/plain": text}}}


def without_422(tree: dict[str, Any]) -> dict[str, Any]:
    """Remove from a description what FastAPI adds to each route with a query: this server answers it with 400."""
    for way in (way for ways in tree["paths"].values() for way in ways.values()):
        way["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        tree["components"]["schemas"].pop(name, None)
    return tree
