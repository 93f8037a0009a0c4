"""Finds the inputs that teacher and student share."""

import keras

from keras_diffkd.features.specs import input_spec


def common_inputs(teacher, student, teacher_preprocess):
    """Returns the student's inputs as `KerasTensor`s.

    Raises:
        ValueError: If the inputs are unknown, or if the teacher takes different
            inputs and there is no `teacher_preprocess` to convert them.
    """
    student_inputs = input_spec(student)
    teacher_inputs = None
    if teacher is not None and teacher_preprocess is None:
        teacher_inputs = input_spec(teacher)
    if dict in map(type, (student_inputs, teacher_inputs)):
        student_inputs, teacher_inputs = _merged(student_inputs, teacher_inputs)
    inputs = student_inputs if student_inputs is not None else teacher_inputs
    if inputs is None:
        raise ValueError(
            f"The input shape of the student {student.name!r} is unknown. Call "
            "`student.build(input_shape)`, or define the model with keras.Input."
        )
    if teacher_inputs is not None and not _compatible(teacher_inputs, inputs):
        raise ValueError(
            "Teacher and student must take the same inputs. Received: teacher "
            f"{_shapes(teacher_inputs)}, student {_shapes(inputs)}. Pass "
            "`teacher_preprocess`, a callable that converts the student's batch for "
            "the teacher."
        )
    return inputs


def _merged(student_inputs, teacher_inputs):
    """Returns two dictionaries with the inputs of both models.

    Each model takes its own entries of a batch. The inputs are returned unchanged if
    the models share no entry.
    """
    if None in (student_inputs, teacher_inputs):
        return student_inputs, teacher_inputs
    of_student, of_teacher = (
        spec
        if isinstance(spec, dict)
        else {tensor.name: tensor for tensor in keras.tree.flatten(spec)}
        for spec in (student_inputs, teacher_inputs)
    )
    if of_student.keys().isdisjoint(of_teacher):
        return student_inputs, teacher_inputs
    return {**of_teacher, **of_student}, {**of_student, **of_teacher}


def _compatible(teacher_inputs, student_inputs):
    try:
        keras.tree.assert_same_structure(teacher_inputs, student_inputs)
    except ValueError:
        return False
    return all(
        len(t.shape) == len(s.shape)
        and all(
            None in (a, b) or a == b
            for a, b in zip(t.shape[1:], s.shape[1:], strict=True)
        )
        for t, s in zip(
            keras.tree.flatten(teacher_inputs),
            keras.tree.flatten(student_inputs),
            strict=True,
        )
    )


def _shapes(inputs):
    return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), inputs)
