"""Sensor products, one file each: scale, offset, fill, masks and bands as the product states them.

A product is found by its layout, before any general format.
"""

from hsipipe.formats.products.base import Product
from hsipipe.formats.products.catalogue import PRODUCTS

__all__ = ["PRODUCTS", "Product"]
