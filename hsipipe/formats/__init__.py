"""Read and write hyperspectral cubes, one file per format."""

from hsipipe.formats.catalogue import FORMATS
from hsipipe.formats.open_save import open_cube, save_cube
from hsipipe.formats.recognise import companions, is_cube, recognise
from hsipipe.formats.sinks import check_sinks, writer

__all__ = ["FORMATS", "check_sinks", "companions", "is_cube", "open_cube", "recognise", "save_cube", "writer"]
