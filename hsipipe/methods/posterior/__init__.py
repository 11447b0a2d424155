"""Samples of what a regression leaves open: a predicted scale, and a diffusion in units of it."""
