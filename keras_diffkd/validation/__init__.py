"""Checks arguments, models and labels, and collects the problems found."""
