"""Reads features out of models: taps, feature pairs, the teacher and its head."""
