"""Checks model files and opens them with Keras."""

import re
import warnings
from pathlib import Path

import keras

from keras_diffkd.errors import UnsafeModelError
from keras_diffkd.keras_private.scopes import in_safe_mode
from keras_diffkd.models.files.allowed_classes import check_classes
from keras_diffkd.models.files.hdf5_file import inspect_weights
from keras_diffkd.models.files.keras_file import (
    CONFIG,
    MAX_SIZES,
    inspect_keras_file,
    parse_config,
)
from keras_diffkd.models.files.weight_limit import limit_weights

# Older versions build unsafe classes from files that are crafted for it.
OLDEST_KERAS = (3, 15, 1)
_SAVE = "Save the model with model.save('NAME.keras')"
_FROM_KERAS = f"Load it on the machine that it comes from. {_SAVE}"
_FROM_PICKLE = f"Unpickling runs any code in the file. {_SAVE}"
_FROM_TORCH = f"Build the model in Keras and copy the weights. {_SAVE}"
# Formats that users may pass instead of a `.keras` file, and the advice for each.
_OTHER_FORMATS = {
    ".h5": _FROM_KERAS,
    ".hdf5": _FROM_KERAS,
    ".pkl": _FROM_PICKLE,
    ".pickle": _FROM_PICKLE,
    ".pt": _FROM_TORCH,
    ".pth": _FROM_TORCH,
}


def load_file(path, allow_classes=()):
    """Loads a `.keras` file that passes `inspect_keras_file`.

    Args:
        path: String or path.
        allow_classes: As in `check_classes`.

    Returns:
        A `keras.Model` without optimizer and loss.

    Raises:
        ValueError: If the file does not exist, or its parts do not match.
        UnsafeModelError: If it is damaged or holds unsafe content.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"The model file {str(path)!r} does not exist. Check the path."
        )
    _check_safe_mode(path)
    number = inspect_keras_file(path, allow_classes=allow_classes)
    try:
        with limit_weights(number):
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except UnsafeModelError as error:
        raise _refusal(path, error) from error
    # The parts are valid but do not match: Keras may raise anything.
    except Exception as error:
        raise ValueError(
            f"The model file {str(path)!r} could not be loaded: {error}. It is not a "
            "complete Keras model, or it needs classes that are not imported. Import "
            "them first, or save the model again."
        ) from error


def is_other_format(path):
    """Returns whether a path is a model in another format than `.keras`.

    Example:

    >>> is_other_format("student.h5"), is_other_format("resnet20")
    (True, False)
    """
    return Path(path).suffix in _OTHER_FORMATS or Path(path).exists()


def load_other_format(path, is_allowed):
    """Refuses a file in another format, or opens it with a warning.

    Args:
        path: String or path.
        is_allowed: Boolean, whether to open the file.

    Raises:
        UnsafeModelError: If `is_allowed` is `False`. The message says what to do.
        ValueError: If Keras cannot read the file.
    """
    path = Path(path)
    advice = _OTHER_FORMATS.get(path.suffix, _SAVE)
    if not is_allowed:
        raise UnsafeModelError(
            f"{str(path)!r} is refused: models are loaded only from .keras files, "
            f"which are checked first. {advice}. If you made the file yourself, and "
            "Keras knows the format, allow_unsafe_formats (--allow_unsafe_formats) "
            "opens it without checks."
        )
    warnings.warn(
        f"{str(path)!r} is opened without any checks of its classes, sizes and "
        "checksums: it may read files, take all memory, or run code. Use it only if "
        "you trust its source.",
        stacklevel=4,
    )
    _check_safe_mode(path)
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Each format raises different errors.
        raise ValueError(
            f"Keras could not load {str(path)!r}. {advice}. Received: {error}"
        ) from error


def check_preset_folder(folder, allow_classes=()):
    """Checks the files of a KerasHub preset like the members of a `.keras` file.

    Args:
        folder: String or path of a folder that `save_to_preset` wrote.
        allow_classes: As in `check_classes`.

    Raises:
        UnsafeModelError: If a file holds unsafe content.
    """
    for path in sorted(Path(folder).iterdir()):
        try:
            if path.suffix == ".json":
                if path.stat().st_size > MAX_SIZES[CONFIG]:
                    raise UnsafeModelError(
                        f"it has more than {MAX_SIZES[CONFIG]} bytes"
                    )
                # In a list, because KerasHub also uses the outermost "compile_config".
                check_classes([parse_config(path.read_bytes())], allow_classes)
            elif path.suffix == ".h5":
                inspect_weights(path)
        except UnsafeModelError as error:
            raise _refusal(path, error) from error


def _check_safe_mode(path):
    """Raises `UnsafeModelError` if Keras would run code from a file."""
    if in_safe_mode() is False:
        raise _refusal(
            path,
            "unsafe deserialization is enabled in this process, so a model file could "
            "run any code. Remove keras.config.enable_unsafe_deserialization()",
        )
    version = tuple(int(part) for part in re.findall(r"\d+", keras.__version__)[:3])
    if version < OLDEST_KERAS:
        raise _refusal(
            path,
            f"Keras {keras.__version__} loads unsafe files. Upgrade it: pip install "
            "'keras>=3.15.1'",
        )


def _refusal(path, reason):
    return UnsafeModelError(f"The model file {str(path)!r} is refused: {reason}.")
