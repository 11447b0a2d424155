"""List the sensor products. Add a product: write one file that declares a `Product` and add one line here."""

from hsipipe.formats.products.base import Product
from hsipipe.registry import Registry

PRODUCTS: Registry[Product] = Registry(
    "sensor product",
    {
        "enmap": "hsipipe.formats.products.enmap:PRODUCT",
        "desis": "hsipipe.formats.products.desis:PRODUCT",
        "prisma": "hsipipe.formats.products.prisma:PRODUCT",
        "emit": "hsipipe.formats.products.emit:PRODUCT",
        "tanager": "hsipipe.formats.products.tanager:PRODUCT",
        "sentinel2": "hsipipe.formats.products.sentinel2:PRODUCT",
        "hyperion": "hsipipe.formats.products.hyperion:PRODUCT",
    },
)
