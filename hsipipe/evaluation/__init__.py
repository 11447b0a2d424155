"""Honest evaluation: metrics with one definition each, rows that cannot see the truth, table, report."""
