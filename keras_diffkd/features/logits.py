"""Checks that outputs are logits, and comparable ones."""

import keras
import numpy as np

from keras_diffkd.features.taps import input_spec


def check_logits(method, teacher, student, teacher_outputs, student_outputs):
    """Raises `ValueError` if the outputs are not comparable class scores.

    Only for a method that taps the output of both models.
    """
    if method.teacher_tap is not None or method.student_tap is not None:
        return
    if isinstance(teacher_outputs, dict):
        return  # A pyramid, whose levels the method compares.
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
    activation = output_activation(model)
    if activation in ("softmax", "sigmoid") or gives_probabilities(model):
        evidence = activation or "rows that sum to 1"
        raise ValueError(
            f"Method {method.name!r} expects logits, but the {whose} "
            f"{model.name!r} outputs probabilities ({evidence}). Remove the final "
            "activation (`classifier_activation=None`, `activation=None`) and "
            "compile with `from_logits=True`."
        )


def check_teacher_head(method, head, teacher, student_outputs):
    """Raises `ValueError` if labels of the student are no classes of the head.

    Args:
        method: The method that wants the teacher's head.
        head: A `TeacherHead`.
        teacher: The teacher that it comes from.
        student_outputs: The student's outputs as `KerasTensor`s.
    """
    check_gives_logits(method, teacher, "teacher")
    classes = getattr(student_outputs, "shape", (head.classes,))[-1]
    if classes != head.classes:
        raise ValueError(
            f"Method {method.name!r} reads the labels as classes of the teacher, which "
            "must have as many as the student. Received: teacher "
            f"{head.classes}, student {classes}."
        )


def output_activation(model):
    """Returns the name of the model's final activation, or `None`."""
    layer = model
    while isinstance(layer, keras.Model):
        outputs = getattr(layer, "outputs", None)
        if not outputs or len(outputs) != 1:
            return None
        producer = outputs[0]._keras_history.operation
        if producer is layer:
            return None
        layer = producer
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", None)


def gives_probabilities(model):
    """Whether the model's output rows are non-negative and sum to one.

    One sample of zeros and one of ones are tried, for a model whose input shape
    is fully known, and that takes numbers; other models are trusted.
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
    """Whether the rows of a NumPy array are non-negative and sum to one."""
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        return False
    sums = outputs.sum(axis=-1)
    return bool((outputs >= 0).all() and np.allclose(sums, 1.0, atol=1e-2))
