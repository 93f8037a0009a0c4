"""Checks that the methods suit the student that they train."""

import keras
import numpy as np

from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.keras_private.layers import all_layers
from keras_diffkd.training import backend

# Number of samples that the student runs on.
NUM_SAMPLES = 8


def check_taps(findings, distiller, look):
    """Adds a warning if no trainable weight affects the student's tap of a method.

    Args:
        findings: `Findings`.
        distiller: The `Distiller`.
        look: `Look` at data that fits the models.
    """
    student = distiller.student
    taps = {tap for method in distiller.methods for tap in _student_taps(method)}
    if not taps or all(layer.trainable for layer in all_layers(student)):
        return
    try:
        x = keras.tree.map_structure(lambda leaf: leaf[:NUM_SAMPLES], look.chunks[0][0])
        features = [_features(student, x, taps, moved) for moved in (False, True)]
    except Exception:  # noqa: BLE001  The training step will report the error.
        return
    fixed = {
        tap
        for tap in taps
        if all(map(np.array_equal, *(_leaves(each[tap]) for each in features)))
    }
    for method in distiller.methods:
        own = _student_taps(method)
        if fixed.issuperset(own):
            names = ", ".join(repr(tap) for tap in own)
            findings.warn(
                f"Method {method.name!r} teaches the student nothing: all layers up to "
                f"its student_tap {names} are frozen. Tap a layer after those that "
                "train, or unfreeze them (`layer.trainable = True`)."
            )


def _student_taps(method):
    tap = method.student_tap
    return list(tap) if isinstance(tap, (list, tuple)) else [tap]


def _features(student, x, taps, moved):
    """Returns the tapped features, with the trainable weights changed if `moved`."""
    rng = np.random.default_rng(0)
    mapping = []
    for variable in student.trainable_variables if moved else ():
        value = keras.ops.convert_to_numpy(variable.value)
        value = value + rng.normal(0.0, 0.1 + np.abs(value).mean(), value.shape)
        value = keras.ops.convert_to_tensor(value.astype("float32"))
        mapping.append((variable, keras.ops.cast(value, variable.dtype)))
    with keras.StatelessScope(mapping), backend.without_gradients():
        x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
        return call_with_taps(student, x, taps, training=False)[1]


def _leaves(feature):
    return [
        keras.ops.convert_to_numpy(keras.ops.cast(leaf, "float32"))
        for leaf in keras.tree.flatten(feature)
    ]


def check_softmax(findings, distiller, look, outputs):
    """Adds a warning if a method applies softmax to classes that can occur together.

    Args:
        findings: `Findings`.
        distiller: The `Distiller`.
        look: `Look` at the training data.
        outputs: List of `TaskOutput`s.
    """
    if len(outputs) != 1 or outputs[0].kind != "binary" or outputs[0].classes == 1:
        return
    y = outputs[0].of(look.y)
    # A binary loss can also be used where each sample has exactly one class.
    if not isinstance(y, np.ndarray) or np.allclose(y.sum(-1), 1.0, atol=1e-2):
        return
    for method in distiller.methods:
        if method.expects_logits and None in _student_taps(method):
            findings.warn(
                f"Method {method.name!r} compares the softmax over all classes, but "
                f"the loss {outputs[0].loss_name!r} allows several classes per sample. "
                "Compare features instead, or compare the logits without softmax: "
                '`DiffKD(distance="mse")`.'
            )
