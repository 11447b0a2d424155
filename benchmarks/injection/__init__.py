"""Faults put into a running pipeline, and what must hold after each; for benchmarks/faults.py and tests/faults."""
