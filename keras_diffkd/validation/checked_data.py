"""Remembers which data was checked last."""

import weakref

import keras


class CheckedData:
    """Remembers the data that was checked, so that it is not read a second time.

    It holds weak references, so it does not keep the data alive. Data that does not
    support weak references is not remembered.
    """

    def __init__(self):
        self._seen = None

    def holds(self, *data):
        """Returns whether these same objects were checked last."""
        leaves = keras.tree.flatten(data)
        return (
            self._seen is not None
            and len(self._seen) == len(leaves)
            and all(
                reference() is leaf
                for reference, leaf in zip(self._seen, leaves, strict=True)
            )
        )

    def keep(self, *data):
        """Remembers these objects instead of the previous ones."""
        try:
            self._seen = [
                (lambda: None) if leaf is None else weakref.ref(leaf)
                for leaf in keras.tree.flatten(data)
            ]
        except TypeError:
            self._seen = None
