"""Patches that training reads: where they lie, how they are stored, in which order they come."""
