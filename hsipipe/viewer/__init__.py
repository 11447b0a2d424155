"""Show cubes in a browser: one HTML file that loads nothing, and one PNG at a glance."""

from hsipipe.viewer.components import Components, compress
from hsipipe.viewer.scene import Layer, Map, Scene

__all__ = ["Components", "Layer", "Map", "Scene", "compress"]
