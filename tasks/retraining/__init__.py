"""Retrain: take in new scenes, judge the new model, promote it, notify."""
