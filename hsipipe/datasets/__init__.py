"""Data sets: facts, readers, download, validation and splits."""
