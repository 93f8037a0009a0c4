"""Model files that commands read: compared with their checksum, then checked."""

import importlib

from keras_diffkd import models
from keras_diffkd.recipes import flags
from keras_diffkd.recipes.checksums import check_checksum


def load_model(spec, **options):
    """Loads a model as the flags about trust say.

    Args:
        spec: str, as for `models.load_model`.
        options: further arguments of that function.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: if there is no such model, or its file is damaged or unsafe.
        ImportError: if `--allow_classes` names a module that there is not.
    """
    if spec.endswith(".keras"):
        check_checksum(spec)
    return models.load_model(
        spec,
        allow_classes=_allowed_classes(),
        allow_unsafe_formats=flags.ALLOW_UNSAFE_FORMATS.value,
        **options,
    )


def _allowed_classes():
    """Imports the modules that `--allow_classes` names, and returns the classes."""
    names = []
    for entry in flags.ALLOW_CLASSES.value:
        module, colon, name = entry.rpartition(":")
        if colon:
            importlib.import_module(module)
        names.append(name)
    return names
