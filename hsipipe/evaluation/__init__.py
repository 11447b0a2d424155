"""Evaluation: metrics with one definition each, scores of predictions made without the truth, table and report."""
