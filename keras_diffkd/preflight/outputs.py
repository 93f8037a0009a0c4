"""Checks the outputs of teacher and student for the first samples."""

import keras
import numpy as np

from keras_diffkd.features.logits import are_probabilities, output_activation
from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.training import backend
from keras_diffkd.training.fused_batch_norm import fused_batch_normalization

# Number of predictions needed to judge a teacher.
FEWEST_DECISIONS = 20
# Accuracy that renumbering the classes must reach before the warning mentions it.
RENUMBERED = 0.5


def run_models(distiller, look):
    """Runs both models on the first samples without changing them.

    Args:
        distiller: The `Distiller`.
        look: `Look` at data that fits the models.

    Returns:
        `(teacher, student)`: two lists of outputs as NumPy arrays in the structure of
        the model's output: the teacher's for each of `look.chunks`, the student's for
        the first. The teacher's list is empty without methods. Both are empty if a
        model cannot run outside the compiled step.
    """
    of_teacher, of_student = [], []
    teacher = distiller.teacher if distiller.methods else None
    student = distiller.student
    networks = [model for model in (teacher, student) if model is not None]
    try:
        with (
            # Nothing that runs in the scope can assign to a variable.
            keras.StatelessScope(),
            backend.without_gradients(),
            fused_batch_normalization(*networks),
        ):
            for x, _ in look.chunks:
                x = keras.tree.map_structure(_tensor, x)
                if teacher is not None:
                    of_teacher.append(_numpy(_teacher_output(distiller, x)))
                if not of_student:
                    outputs, _ = call_with_taps(student, x, [], training=False)
                    of_student.append(_numpy(outputs))
    except Exception:  # noqa: BLE001  The training step will report the error.
        return [], []
    return of_teacher, of_student


def _teacher_output(distiller, x):
    return distiller.frozen_teacher.features(x, [None])[None]


def _tensor(array):
    if array.dtype == np.float64:
        array = array.astype(keras.config.floatx())
    return keras.ops.convert_to_tensor(array)


def _numpy(outputs):
    return keras.tree.map_structure(
        lambda t: np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(t, "float32"))),
        outputs,
    )


def check_finite(findings, outputs, whose):
    """Adds a problem if a model outputs NaN or infinity."""
    for array in keras.tree.flatten(outputs):
        if not np.isfinite(array).all():
            findings.error(
                f"The {whose} outputs values that are not finite for the first "
                f"samples. Received: {int((~np.isfinite(array)).sum())} of "
                f"{array.size}. Check its weights and the range of its inputs."
            )
            return


def check_activation(findings, output, student, of_student):
    """Adds a problem if the loss takes logits for probabilities, or the reverse.

    Args:
        findings: `Findings`.
        output: `TaskOutput`.
        student: The student.
        of_student: List of the student's outputs, as NumPy arrays.
    """
    if output.kind is None or not of_student:
        return
    values = np.concatenate([output.of(each) for each in of_student])
    last = output_activation(student)
    if output.kind == "binary":
        probable = bool(((values >= 0) & (values <= 1)).all())
        is_logits, activation = not probable, "sigmoid"
        twice = last == "sigmoid"
    else:
        # Values that do not sum to 1, such as those of sigmoids, are allowed: Keras
        # divides them by their sum.
        is_logits = bool(((values < 0) | (values > 1)).any())
        activation = "softmax"
        twice = values.shape[-1] > 1 and are_probabilities(values)
    if output.from_logits and twice:
        findings.error(
            f"The loss {output.loss_name!r} has from_logits=True, but the "
            f"student{output.title} outputs probabilities: {activation} would be "
            "applied twice. Remove the student's last activation."
        )
    elif not output.from_logits and is_logits:
        findings.error(
            f"The loss {output.loss_name!r} expects probabilities, but the "
            f"student{output.title} outputs logits. Received: values from "
            f"{float(values.min()):.3g} to {float(values.max()):.3g}. Compile with "
            "from_logits=True."
        )


def check_teacher(findings, output, look, of_teacher):
    """Measures the teacher's accuracy and warns if it is no better than chance.

    Args:
        findings: `Findings`.
        output: `TaskOutput` that describes the labels.
        look: `Look` at the data.
        of_teacher: List of the teacher's outputs, as NumPy arrays.
    """
    truth, predicted = decisions(output, look, of_teacher)
    if len(truth) < FEWEST_DECISIONS:
        return
    accuracy = float(np.mean(truth == predicted))
    findings.teacher_accuracy = (accuracy, len(truth))
    chance = chance_level(truth, predicted, output.classes)
    # Two standard deviations of the accuracy of guessing. The pixels of an image are
    # not independent, so only whole samples count.
    samples = min(len(truth), sum(len(output.of(y)) for _, y in look.chunks))
    if accuracy > chance + 2 * np.sqrt(chance * (1 - chance) / samples):
        return
    _, counts = np.unique(truth, return_counts=True)
    rare = len(truth) - counts.max()
    if rare < FEWEST_DECISIONS // 2 and accuracy >= counts.max() / len(truth) - 0.1:
        return  # There are too few samples of the other classes.
    message = (
        f"The teacher is no better than chance on the first samples. Received: "
        f"accuracy {accuracy:.3f} on {len(truth)} labels; guessing gives {chance:.3f}. "
        "Check its preprocessing (`teacher_preprocess`), its weights and its class "
        "order."
    )
    renumbered = renumbered_accuracy(truth, predicted, output.classes)
    if renumbered is not None and renumbered >= RENUMBERED:
        message += (
            f" With its classes renumbered, its accuracy would be {renumbered:.3f}: "
            "its class order is different."
        )
    findings.warn(message)


def decisions(output, look, of_teacher):
    """Returns `(labels, teacher's predictions)` as flat integer arrays."""
    truths, decided = [np.zeros(0, int)], [np.zeros(0, int)]
    for (_, y), outputs in zip(look.chunks, of_teacher, strict=False):
        truth, given = output.of(y), output.of(outputs)
        if (
            output.kind not in ("sparse", "categorical")
            or not isinstance(truth, np.ndarray)
            or not isinstance(given, np.ndarray)
            or given.shape[-1] != output.classes
        ):
            break
        truth = truth.argmax(-1) if output.kind == "categorical" else truth
        if truth.size != given[..., 0].size:
            break
        truth = truth.reshape(-1).astype(int)
        counted = (
            np.ones(truth.shape, bool)
            if output.ignore_class is None
            else truth != output.ignore_class
        )
        truths.append(truth[counted])
        decided.append(given.argmax(-1).reshape(-1)[counted])
    return np.concatenate(truths), np.concatenate(decided)


def chance_level(truth, predicted, classes):
    """Returns the expected accuracy of the same predictions in random order."""
    if len(np.unique(truth)) == 1:
        # Data with only one class does not show how the other classes do.
        return 1 / classes
    frequencies = [np.bincount(each, minlength=classes) for each in (truth, predicted)]
    return float(np.dot(*frequencies)) / len(truth) ** 2


def renumbered_accuracy(truth, predicted, classes):
    """Returns the accuracy if each predicted class meant its most frequent label.

    It returns `None` if there are too few samples, or if the classes cannot be matched
    one to one.
    """
    if len(truth) < 5 * classes:
        return None
    table = np.zeros((classes, classes), int)
    np.add.at(table, (predicted, truth), 1)
    # If several classes match the same label, this is not a renumbering.
    if len(set(table.argmax(1).tolist())) < classes * 0.6:
        return None
    return float(table.max(1).sum() / len(truth))
