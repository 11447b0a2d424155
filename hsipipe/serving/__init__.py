"""A model behind HTTP: one cube in, one cube out, for clients that are trusted with nothing."""
