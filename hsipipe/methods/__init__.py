"""The methods, one file each, and the catalogue of their names."""
