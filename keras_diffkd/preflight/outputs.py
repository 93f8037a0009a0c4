"""Checks on what teacher and student give for the first samples."""

import keras
import numpy as np

from keras_diffkd.features.logits import are_probabilities, output_activation
from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.training import backend

# Fewer decisions say nothing about a teacher.
FEWEST_DECISIONS = 20
# Share of decisions that a renumbering of the classes must make right to be named.
RENUMBERED = 0.5


def run_models(distiller, look):
    """Runs both models on the first samples, and changes nothing of them.

    Args:
        distiller: The `Distiller`.
        look: `Look` at data that fits the models.

    Returns:
        `(teacher, student)`: lists of outputs for each of `look.chunks`, as NumPy
        arrays in the models' structure. That of the teacher is empty without
        methods; both are if a model cannot run outside the compiled step.
    """
    of_teacher, of_student = [], []
    try:
        # Nothing that runs in the scope can assign to a variable.
        with keras.StatelessScope(), backend.without_gradients():
            for x, _ in look.chunks:
                x = keras.tree.map_structure(_tensor, x)
                if distiller.methods:
                    of_teacher.append(_numpy(_teacher_output(distiller, x)))
                outputs, _ = call_with_taps(distiller.student, x, [], training=False)
                of_student.append(_numpy(outputs))
    except Exception:  # noqa: BLE001  The step will say what is wrong, in its own words.
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
    """Adds a problem if a model gives NaN or infinity."""
    for array in keras.tree.flatten(outputs):
        if not np.isfinite(array).all():
            findings.error(
                f"The {whose} gives values that are not finite for the first samples. "
                f"Received: {int((~np.isfinite(array)).sum())} of {array.size}. Its "
                "weights are damaged, or its inputs far from what it was trained with."
            )
            return


def check_activation(findings, output, student, of_student):
    """Adds a problem if the loss reads logits as probabilities, or the reverse.

    Args:
        findings: `Findings`.
        output: `TaskOutput`.
        student: The student.
        of_student: List of its outputs, in NumPy.
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
        # Keras divides by their sum what does not sum to 1, as of sigmoids.
        is_logits = bool(((values < 0) | (values > 1)).any())
        activation = "softmax"
        twice = values.shape[-1] > 1 and are_probabilities(values)
    if output.from_logits and twice:
        findings.error(
            f"The loss {output.loss_name!r} is compiled with from_logits=True and the "
            f"student{output.title} gives probabilities ({activation}): it would be "
            f"applied twice. Remove the student's last activation."
        )
    elif not output.from_logits and is_logits:
        findings.error(
            f"The loss {output.loss_name!r} takes probabilities and the "
            f"student{output.title} gives logits. Received: values from "
            f"{float(values.min()):.3g} to {float(values.max()):.3g}. Compile with "
            "from_logits=True."
        )


def check_teacher(findings, output, look, of_teacher):
    """Measures the teacher's accuracy; adds a warning if it is that of chance.

    Args:
        findings: `Findings`.
        output: `TaskOutput` that says what labels mean.
        look: `Look` at the data.
        of_teacher: List of the teacher's outputs, in NumPy.
    """
    truth, said = decisions(output, look, of_teacher)
    if len(truth) < FEWEST_DECISIONS:
        return
    accuracy = float(np.mean(truth == said))
    findings.teacher_accuracy = (accuracy, len(truth))
    chance = chance_level(truth, said, output.classes)
    # Two standard deviations of the share that guessing gets right. Pixels of an image
    # depend on each other, so only whole samples count.
    samples = min(len(truth), sum(len(output.of(y)) for _, y in look.chunks))
    if accuracy > chance + 2 * np.sqrt(chance * (1 - chance) / samples):
        return
    _, counts = np.unique(truth, return_counts=True)
    rare = len(truth) - counts.max()
    if rare < FEWEST_DECISIONS // 2 and accuracy >= counts.max() / len(truth) - 0.1:
        return  # Too few samples of the other classes to tell.
    message = (
        f"The teacher is no better than chance on the first samples. Received: "
        f"accuracy {accuracy:.3f} on {len(truth)} labels, where guessing gives "
        f"{chance:.3f}. Its preprocessing (`teacher_preprocess`), its weights or the "
        "order of its classes is likely another."
    )
    renumbered = renumbered_accuracy(truth, said, output.classes)
    if renumbered is not None and renumbered >= RENUMBERED:
        message += (
            f" With its classes renumbered it would be right in {renumbered:.3f}: the "
            "order of the classes is another."
        )
    findings.warn(message)


def decisions(output, look, of_teacher):
    """Returns `(labels, teacher's decisions)` as flat integer arrays."""
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


def chance_level(truth, said, classes):
    """Returns the accuracy of the same decisions, dealt out to the labels by chance."""
    if len(np.unique(truth)) == 1:
        # Data of one class alone says nothing about the others.
        return 1 / classes
    frequencies = [np.bincount(each, minlength=classes) for each in (truth, said)]
    return float(np.dot(*frequencies)) / len(truth) ** 2


def renumbered_accuracy(truth, said, classes):
    """Returns the accuracy if every decision meant its most frequent label.

    `None` where there are too few samples for that to mean anything.
    """
    if len(truth) < 5 * classes:
        return None
    table = np.zeros((classes, classes), int)
    np.add.at(table, (said, truth), 1)
    # A class that stands for two labels, or none, is no renumbering.
    if len(set(table.argmax(1).tolist())) < classes * 0.6:
        return None
    return float(table.max(1).sum() / len(truth))
