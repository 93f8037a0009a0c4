"""Proof that the artefacts compute what the Keras student computes."""
