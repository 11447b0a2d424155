"""Noise schedules, training targets, samplers and observation consistency."""
