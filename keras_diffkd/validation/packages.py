"""Imports KerasHub, an optional dependency."""

import importlib


def import_keras_hub(what):
    """Returns the module `keras_hub`.

    Args:
        what: String, the name of the feature that needs it, for the error.

    Raises:
        ImportError: If KerasHub is not installed. The message says how to install it.
    """
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        raise ImportError(
            f"{what} needs KerasHub. Run `pip install keras-hub`"
        ) from error
