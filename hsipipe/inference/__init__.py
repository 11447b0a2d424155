"""Predict whole scenes."""
