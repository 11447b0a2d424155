"""Cubes in and out of files, one file per format."""

from hsipipe.formats.catalogue import FORMATS, detect, open_cube, save_cube, writer

__all__ = ["FORMATS", "detect", "open_cube", "save_cube", "writer"]
