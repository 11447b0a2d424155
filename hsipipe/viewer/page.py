"""Write the viewer into a page: one file that loads nothing, with a policy that lets nothing else run."""

import base64
import hashlib
import io
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from hsipipe.viewer.scene import Scene

PAGE_BYTES = 15_000_000
"""Largest size of a page."""
_WIDEST_STILL = 480


@dataclass(frozen=True)
class Assets:
    """Style and script of the viewer, and the policy that admits them alone.

    Attributes:
        style: Content of the one style element.
        script: Content of the one script element that runs.
        policy: Content-Security-Policy of the page.
    """

    style: Markup
    script: Markup
    policy: str


def assets(more_style: str = "") -> Assets:
    """Return what a page with viewers holds.

    Args:
        more_style: The page's own style.
    """
    style = _text("base.css") + _text("viewer.css") + more_style
    script = _text("viewer.js")
    policy = (
        f"default-src 'none'; script-src {source_hash(script)}; style-src {source_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return Assets(Markup(style), Markup(script), policy)


def write_page(scene: Scene) -> str:
    """Return the page of one scene as HTML."""
    environment = page_environment()
    template = environment.from_string(_text("page.html.j2"))
    own = assets(_STILLS)
    errors = [layer.components.max_error for layer in scene.layers]
    names = ", ".join(layer.name for layer in scene.layers)
    return template.render(
        title=scene.name,
        subtitle=f"{len(scene.layers)} cube{'s' if len(scene.layers) > 1 else ''}: {names}.",
        style=own.style,
        script=own.script,
        policy=own.policy,
        data=Markup(scene.to_json()),
        pictures=[{"src": picture_src(still), "alt": f"{name}, {way}"} for name, way, still in scene.stills()],
        explanation=f"Values are those of the files within {max(errors):.2g}.",
    )


def page_environment() -> Environment:
    """Return the template environment, in which every text is escaped."""
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def picture_src(image: NDArray[np.uint8], widest: int = _WIDEST_STILL) -> str:
    """Return an image (h, w, 3) as the data URI of a PNG of at most `widest` pixels a side."""
    from PIL import Image  # slow to import

    picture = Image.fromarray(image)
    if max(picture.size) > widest:
        picture.thumbnail((widest, widest))
    target = io.BytesIO()
    picture.save(target, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


_STILLS = """
figure { margin: .5rem 1rem .5rem 0; display: inline-block; max-width: 100%; vertical-align: top; }
figure img { display: block; max-width: 100%; min-width: min(16rem, 100%); image-rendering: pixelated; }
summary { cursor: pointer; font-weight: 600; margin-top: 1rem; }
"""


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """Return the source expression of a Content-Security-Policy that admits a script or style with this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
