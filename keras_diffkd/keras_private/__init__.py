"""Wraps every private name of Keras that the library uses in one short function.

A new version of Keras may rename them. `tests/keras_private` checks each name against
plain Keras, so that a test fails first and says which name is gone.
"""
