"""Sharpen one scene by methods fitted to it alone: fit at reduced resolution, choose, judge, predict."""
