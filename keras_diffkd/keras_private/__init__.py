"""Every private name of Keras that the library uses: one short function for each.

A new Keras may rename them. `tests/keras_private` shows what plain Keras must do with
each name, so that it fails first and says which name is gone.
"""
