"""Read the scenes out of a page with viewers, as its script does."""

import base64
import json
import re

import numpy as np

from hsipipe.viewer.packing import unpack


def scenes(page):
    """The trees of all scenes in a page, by the id of their script element."""
    found = re.findall(r'<script type="application/json" id="([^"]*)">(.*?)</script>', page, flags=re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def layer(tree, name):
    """A cube of a scene and its values (C, h, w), NaN where there are none."""
    entry = next(entry for entry in tree["layers"] if entry["name"] == name)
    shape = (entry["count"], entry["height"], entry["width"])
    codes = unpack(entry["planes"], shape).reshape(entry["count"], -1)
    basis = floats(entry["basis"]).reshape(entry["count"], entry["bands"])
    cube = entry["step"] * basis.T @ codes + floats(entry["mean"])[:, None]
    if entry["valid"]:
        cube[:, unpack(entry["valid"], (1, *shape[1:])).ravel() == 0] = np.nan
    return entry, cube.reshape(entry["bands"], *shape[1:])


def map_of(tree, kind, name):
    """A map of a scene as it is shown; NaN where there is no value."""
    number = [entry["name"] for entry in tree["layers"]].index(name)
    entry = next(entry for entry in tree["maps"] if (entry["kind"], entry["of"]) == (kind, number))
    codes = unpack(entry["planes"], (1, entry["height"], entry["width"]))[0]
    return np.where(codes < 0, np.nan, codes * entry["step"])
