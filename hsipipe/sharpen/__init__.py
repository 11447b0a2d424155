"""Sharpen one scene with what it teaches itself: fit at reduced resolution, choose, judge, predict."""
