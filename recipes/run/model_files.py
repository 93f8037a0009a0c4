"""Reads and writes model files with their checksums."""

import contextlib
import importlib

from keras_diffkd import models
from keras_diffkd.atomic_files import flush, written_aside
from keras_diffkd.file_hashes import hash_file

from .. import flags
from .checksums import check_checksum, forget_checksum, write_checksum


def load_checked_model(spec, **options):
    """Loads a model, with its checksum compared and the trust that the flags give.

    Args:
        spec: str, as for `models.load_model`.
        options: more arguments of that function.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: if there is no such model, or its file is damaged or unsafe.
        ImportError: if `--allow_classes` names a missing module.
    """
    if spec.endswith(".keras"):
        check_checksum(spec)
    return models.load_model(
        spec,
        allow_classes=_allowed_classes(),
        allow_unsafe_formats=flags.ALLOW_UNSAFE_FORMATS.value,
        **options,
    )


def save_model(model, path):
    """Saves a model under a temporary name and moves it into place when complete.

    Args:
        model: a `keras.Model`.
        path: the `.keras` file.
    """
    # In float32.
    with written_with_checksum(path, needed=4 * model.count_params()) as aside:
        model.save(aside)


@contextlib.contextmanager
def written_with_checksum(path, needed=None):
    """Yields a file as `written_aside` does, and writes its SHA-256 beside it."""
    with written_aside(path, needed) as aside:
        yield aside
        flush(aside)
        digest = hash_file(aside)
        forget_checksum(path)
    write_checksum(path, digest)


def _allowed_classes():
    """Imports the modules that `--allow_classes` names, and returns the classes."""
    names = []
    for entry in flags.ALLOW_CLASSES.value:
        module, colon, name = entry.rpartition(":")
        if colon:
            importlib.import_module(module)
        names.append(name)
    return names
