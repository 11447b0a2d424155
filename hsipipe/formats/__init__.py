"""Read and write hyperspectral cubes, one file per format."""

from hsipipe.formats.catalogue import FORMATS
from hsipipe.formats.open_save import open_cube, save_cube, writer
from hsipipe.formats.recognise import companions, is_cube, recognise

__all__ = ["FORMATS", "companions", "is_cube", "open_cube", "recognise", "save_cube", "writer"]
