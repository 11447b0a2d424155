"""Outputs that appear whole or not at all, and the Zarr stores inside them."""
