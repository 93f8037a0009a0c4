"""Turns a user's folder of images into a data set of TFDS."""
