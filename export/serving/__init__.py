"""Prepares the model for export: float32, names, pixels, boxes, samples."""
