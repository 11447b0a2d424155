"""Cubes in and out of files, one file per format."""

from hsipipe.formats.catalogue import FORMATS, companions, detect, is_cube, open_cube, save_cube, writer

__all__ = ["FORMATS", "companions", "detect", "is_cube", "open_cube", "save_cube", "writer"]
