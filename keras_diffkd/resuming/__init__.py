"""Trainings that go on where they were killed: snapshots and fingerprints."""
