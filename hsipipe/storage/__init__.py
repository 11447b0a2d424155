"""Publish outputs atomically, and read and write Zarr stores."""
