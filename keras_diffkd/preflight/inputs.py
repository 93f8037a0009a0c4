"""Checks the inputs in the data against the inputs that a model takes."""

import keras
import numpy as np

from keras_diffkd.features.own_inputs import own_inputs
from keras_diffkd.features.specs import input_spec
from keras_diffkd.preflight.batches import thinned


def check_inputs(findings, look, student, what="training data"):
    """Adds problems with the inputs.

    Args:
        findings: `Findings`.
        look: `Look` at the data.
        student: The model that is trained.
        what: String, the name of the data in messages.

    Returns:
        Boolean, whether models can run on the inputs.
    """
    arrays = [a for a in keras.tree.flatten(look.x) if a is not None]
    if not look.chunks or any(a.ndim and not len(a) for a in arrays):
        findings.error(
            f"The {what} is empty. Received: a data set with no batches or samples. "
            "Check the path, the split and any filter."
        )
        return False
    x = own_inputs(student, look.x)
    pairs = _pairs(findings, x, input_spec(student), what)
    before = len(findings.errors)
    _check_not_constant(findings, pairs, what)
    for name, array, spec in pairs:
        _check_shape(findings, array, spec, name, what)
        if spec.dtype != "string":
            _check_values(findings, array, name, what)
    return bool(pairs) and len(findings.errors) == before


def is_one_sample(look, student):
    """Returns whether the data is one sample without a batch axis."""
    arrays = keras.tree.flatten(own_inputs(student, look.x))
    specs = keras.tree.flatten(input_spec(student))
    if len(arrays) != len(specs) or arrays[0] is None or specs[0] is None:
        return False
    return _fits((None, *arrays[0].shape), tuple(specs[0].shape))


def _pairs(findings, x, spec, what):
    """Returns `(name, array, spec)` for each input that can be checked."""
    if spec is None:
        return []
    if isinstance(spec, dict) and isinstance(x, dict):
        missing = sorted(set(spec) - set(x))
        if missing:
            findings.error(
                f"The {what} must have the student's inputs {sorted(spec)}. Received: "
                f"{sorted(x)}, without {missing}. Rename the entries of the data, or "
                "the inputs of the model."
            )
            return []
        named = []
        for key in spec:
            if any(map(keras.tree.is_nested, (x[key], spec[key]))):
                named += _pairs(findings, x[key], spec[key], what)
            else:
                named.append((f"input {key!r}", x[key], spec[key]))
    else:
        arrays, specs = keras.tree.flatten(x), keras.tree.flatten(spec)
        if len(arrays) != len(specs):
            findings.error(
                f"The student takes {len(specs)} inputs. Received: {len(arrays)} "
                f"inputs in the {what}. Pass one array for each input, in the order "
                "of the model."
            )
            return []
        names = ["inputs"] if len(specs) == 1 else [s.name for s in specs]
        named = list(zip(names, arrays, specs, strict=True))
    return [each for each in named if each[1] is not None]


def _check_shape(findings, array, spec, name, what):
    received, expected = array.shape, tuple(spec.shape)
    # Keras adds or removes a last axis with one channel.
    alike = (expected, expected[:-1]) if expected[-1:] == (1,) else (expected,)
    if received[-1:] == (1,):
        alike = (*alike, (*expected, 1))
    if any(_fits(received, shape) for shape in alike):
        return
    message = (
        f"The {name} of the {what} must have the shape {expected} that the student "
        f"takes. Received: {received}."
    )
    if _fits((None, *received), expected):
        message += (
            " This is one sample without a batch axis: batch the data with "
            "`dataset.batch(64)` or `array[None]`."
        )
    elif len(received) == len(expected) and _fits(
        (received[0], *received[2:], received[1]), expected
    ):
        message += (
            " The channels come first: move them to the end with "
            "`np.moveaxis(images, 1, -1)`."
        )
    else:
        message += " Resize or convert the data, or build the student for this shape."
    findings.error(message)


def _fits(received, expected):
    return len(received) == len(expected) and all(
        None in pair or pair[0] == pair[1]
        for pair in zip(received[1:], expected[1:], strict=True)
    )


def _check_values(findings, array, name, what):
    if array.dtype.kind not in "biuf" and not _is_small_float(array):
        findings.error(
            f"The {name} of the {what} must be numbers. Received: dtype "
            f"{array.dtype}. Decode or convert them before training."
        )
        return
    array = thinned(array)
    # Neither creates a temporary array as large as the data.
    low, high = float(np.min(array)), float(np.max(array))
    if not np.isfinite([low, high]).all():
        received = "NaN" if np.isnan(low) else f"values from {low:g} to {high:g}"
        findings.error(
            f"The {name} of the {what} must be finite. Received: {received}. Remove "
            "those samples, or check the preprocessing for a division by zero."
        )


def _check_not_constant(findings, pairs, what):
    """Adds a warning if all inputs are constant. One constant input may be a mask."""
    values = set()
    for name, array, _ in pairs:
        if array.dtype.kind not in "biuf" or array.size < 2:
            return
        low, high = float(np.min(thinned(array))), float(np.max(thinned(array)))
        if low != high:
            return
        values.add((name, low))
    for name, value in sorted(values):
        findings.warn(
            f"The {name} of the {what} are {value:g} everywhere: there is nothing to "
            "learn from. Check the output of the preprocessing."
        )


def _is_small_float(array):
    return array.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")
