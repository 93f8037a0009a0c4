"""Proof that the artifacts compute what the Keras student computes."""
