"""Simulation of the LR-HSI and the HR-MSI from the HR-HSI."""
