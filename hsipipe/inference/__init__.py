"""Prediction of whole scenes."""
