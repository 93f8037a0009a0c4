"""Holds a run in a folder: its layout, its flags, its models and its logs."""
