"""Render the server's pages: the start page, and the description of the interface. They load nothing."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse

from hsipipe.methods.domain import span
from hsipipe.serving.descriptions import ModelDescription
from hsipipe.serving.limits import LARGER, Limits
from hsipipe.serving.uploads import KINDS
from hsipipe.viewer.page import page_environment, source_hash

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Cpath fill='%230072b2' "
    "d='M0 4h4v4H0z'/%3E%3Cpath fill='%23d55e00' d='M4 0h2v2H4zM6 2h2v2H6z'/%3E%3C/svg%3E"
)
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"}


def start_page(model: ModelDescription, limits: Limits) -> HTMLResponse:
    """Return the page on which a cube is dropped, predicted and shown."""
    script = _text(__package__, "start.js")
    return _page(
        "start.html.j2",
        script=script,
        model=model,
        facts=_facts(model),
        limit_mib=limits.body_bytes >> 20,
        settings=_as_json(
            {"scale": model.scale, "fuses": model.msi_bands != 0, "bytes": limits.body_bytes, "larger": LARGER}
        ),
        suffixes=",".join((*(kind.suffix for kind in KINDS), ".tiff")),
    )


def docs_page(tree: Mapping[str, Any]) -> HTMLResponse:
    """Return the description of the interface.

    Args:
        tree: The OpenAPI description.
    """
    schemas = tree["components"]["schemas"]
    routes = [
        {"path": path, "method": method.upper(), "curl": _curl(path, method), **way}
        for path, ways in tree["paths"].items()
        for method, way in ways.items()
    ]
    return _page(
        "docs.html.j2", script="", info=tree["info"], routes=routes, example_of=lambda of: _example(of, schemas)
    )


def _page(template: str, *, script: str, **values: Any) -> HTMLResponse:
    style = _text("hsipipe.viewer", "base.css") + _text(__package__, "pages.css")
    scripts = source_hash(script) if script else "'none'"
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {source_hash(style)}; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    made = page_environment().from_string(_text(__package__, template))
    html = made.render(style=Markup(style), script=Markup(script), icon=_ICON, **values)
    return HTMLResponse(html, headers={"Content-Security-Policy": policy, **_HEADERS})


def _facts(model: ModelDescription) -> list[str]:
    """Return facts on the model, a few words each."""
    bands = "any number of bands" if model.bands is None else f"{model.bands} bands"
    bands = bands if not model.wavelength_nm else span(model.wavelength_nm)
    # A model in a folder has the name of its method.
    name = model.name if model.name == model.kind else f"{model.kind}, {model.name}"
    facts = [f"{name} version {model.version}", f"scale {model.scale}", bands]
    if model.value_range is not None:
        low, high = model.value_range
        facts.append(f"trained on values {low:.3g} to {high:.3g} of the full scale")
    return facts


def _curl(path: str, method: str) -> str:
    """Return a command for a route."""
    if path == "/predict":
        return 'curl --fail-with-body --data-binary @low.tif -o high.tif "$SERVER/predict?full_scale=10000"'
    return f"curl --fail-with-body {'' if method == 'get' else '-X POST '}$SERVER{path}"


def _example(content: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """Return the example of one media type, from itself or from its schema."""
    example = content.get("example")
    if example is None:
        schema = schemas.get(content.get("schema", {}).get("$ref", "").rpartition("/")[2], {})
        each = schema.get("properties", {}).items()
        example = schema.get("example", {name: one["examples"][0] for name, one in each if "examples" in one})
    return example if isinstance(example, str) else json.dumps(example, indent=2)


def _as_json(tree: Any) -> Markup:
    """Return JSON for a script element."""
    text = json.dumps(tree)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
