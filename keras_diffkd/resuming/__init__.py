"""Saves snapshots of trainings and resumes interrupted trainings from them."""
