"""Checks that the outputs of teacher and student are logits of the same classes."""

import keras
import numpy as np

from keras_diffkd.features.specs import input_spec
from keras_diffkd.keras_private.layers import operation_of


def check_logits(method, teacher, student, teacher_outputs, student_outputs):
    """Raises `ValueError` if the outputs are not comparable class scores.

    A method that does not tap the output of both models passes.
    """
    if method.teacher_tap is not None or method.student_tap is not None:
        return
    if isinstance(teacher_outputs, dict):
        return  # A pyramid: the method compares its levels.
    if teacher_outputs.shape[-1] != student_outputs.shape[-1]:
        raise ValueError(
            f"Method {method.name!r} compares the outputs of teacher and student, "
            "which must have the same number of classes. Received: teacher "
            f"{teacher_outputs.shape[-1]}, student {student_outputs.shape[-1]}. Match "
            "features instead (`teacher_tap`, `student_tap`), or replace the "
            "student's classifier."
        )
    if not method.expects_logits:
        return
    check_gives_logits(method, teacher, "teacher")
    check_gives_logits(method, student, "student")


def check_gives_logits(method, model, whose):
    """Raises `ValueError` if the model's outputs are probabilities."""
    if evidence := evidence_of_probabilities(model):
        raise ValueError(
            f"Method {method.name!r} expects logits, but the {whose} "
            f"{model.name!r} outputs probabilities ({evidence}). Remove the final "
            "activation (`classifier_activation=None`, `activation=None`) and "
            "compile with `from_logits=True`."
        )


def evidence_of_probabilities(model):
    """Returns text about why a model's outputs are probabilities, or `None`."""
    activation = output_activation(model)
    if activation in ("softmax", "sigmoid") or gives_probabilities(model):
        return activation or "rows that sum to 1"
    return None


def check_teacher_head(method, head, teacher, student_outputs):
    """Raises `ValueError` if the head and the student have different classes.

    Args:
        method: The method that uses the teacher's head.
        head: A `TeacherHead`.
        teacher: The teacher that the head comes from.
        student_outputs: The student's outputs as `KerasTensor`s.
    """
    check_gives_logits(method, teacher, "teacher")
    classes = getattr(student_outputs, "shape", (head.classes,))[-1]
    if classes != head.classes:
        raise ValueError(
            f"Method {method.name!r} uses the labels with the teacher's classifier, so "
            "teacher and student must have the same number of classes. Received: "
            f"teacher {head.classes}, student {classes}. Use a teacher for the same "
            "classes, or another method."
        )


def output_activation(model):
    """Returns the name of the model's final activation, or `None`."""
    layer = model
    while isinstance(layer, keras.Model):
        outputs = getattr(layer, "outputs", None)
        if not outputs or len(outputs) != 1:
            return None
        producer = operation_of(outputs[0])
        if producer is layer:
            return None
        layer = producer
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", None)


def gives_probabilities(model):
    """Returns whether the rows of a model's output are probabilities.

    It runs the model on one sample of zeros and one of ones. Models whose inputs are
    strings or have an unknown shape are not run and count as giving logits.
    """
    spec = input_spec(model)
    if spec is None or any(
        None in tensor.shape[1:] or tensor.dtype == "string"
        for tensor in keras.tree.flatten(spec)
    ):
        return False
    probe = keras.tree.map_structure(
        lambda t: np.stack([np.zeros(t.shape[1:]), np.ones(t.shape[1:])]).astype(
            keras.backend.standardize_dtype(t.dtype)
        ),
        spec,
    )
    outputs = keras.ops.convert_to_numpy(
        keras.ops.cast(model(probe, training=False), "float32")
    )
    return are_probabilities(outputs)


def are_probabilities(outputs):
    """Returns whether the rows of a NumPy array are non-negative and sum to one."""
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        return False
    sums = outputs.sum(axis=-1)
    return bool((outputs >= 0).all() and np.allclose(sums, 1.0, atol=1e-2))
