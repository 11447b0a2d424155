"""The data sets: facts, readers, download, validation, splits."""
