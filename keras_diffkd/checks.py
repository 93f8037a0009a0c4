"""What `Distiller` checks before it accepts two models and their methods."""

import keras
import numpy as np

from keras_diffkd.methods.method import DistillationMethod
from keras_diffkd.taps import check_is_tensor, input_spec


def check_model(model, whose):
    """Raises `ValueError` unless `model` is a built `keras.Model`."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`{whose}` must be a keras.Model. Received: {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            f"`{whose}` must be built: its layers have no weights yet. Received: "
            f"{type(model).__name__} {model.name!r}. Call `model.build(input_shape)` "
            "or run it on one batch first."
        )


def check_finite_weights(model):
    """Raises `ValueError` naming the first weight that is not finite."""
    for variable in model.variables:
        value = keras.ops.convert_to_tensor(variable.value)
        if not bool(keras.ops.all(keras.ops.isfinite(value))):
            raise ValueError(
                f"The weights of {model.name!r} must be finite. Received: NaN or "
                f"infinity in {variable.path!r}. Train again, or from an older "
                "backup, with a smaller learning rate."
            )


def check_nothing_shared(teacher, student):
    """Raises `ValueError` if training the student would change the teacher."""
    if teacher is student:
        raise ValueError(
            "Teacher and student must not share weights: they are two models. "
            f"Received: {student.name!r} twice. Make a copy with "
            "`keras.models.clone_model` and `set_weights`."
        )
    of_teacher = {id(variable) for variable in teacher.variables}
    shared = [v for v in _moving_variables(student) if id(v) in of_teacher]
    if shared:
        raise ValueError(
            "Teacher and student must not share weights that train: training would "
            f"change both. Received: {len(shared)} shared, {shared[0].path!r} for one. "
            "Make a copy with `keras.models.clone_model` and `set_weights`, or freeze "
            "the shared layers (`layer.trainable = False`)."
        )


def _moving_variables(model):
    """Returns the weights that training may change.

    Those of a frozen layer stay as they are, and the statistics of a frozen batch
    normalisation too.
    """
    frozen = {
        id(weight)
        for layer in model._flatten_layers()
        if not layer.trainable
        for weight in layer.weights
    }
    return [w for w in model.weights if w.trainable or id(w) not in frozen]


def common_inputs(teacher, student, teacher_preprocess):
    """Returns the student's inputs as `KerasTensor`s.

    Raises:
        ValueError: If they are unknown, or the teacher takes other inputs and
            there is no `teacher_preprocess` to convert them.
    """
    student_inputs = input_spec(student)
    teacher_inputs = None
    if teacher is not None and teacher_preprocess is None:
        teacher_inputs = input_spec(teacher)
    if dict in map(type, (student_inputs, teacher_inputs)):
        student_inputs, teacher_inputs = _united(student_inputs, teacher_inputs)
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
            "`teacher_preprocess`, a callable that turns the student's batch into the "
            "teacher's."
        )
    return inputs


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


def check_single_features(method, teacher, student, teacher_features, student_features):
    """Raises `ValueError` if a tap gives a pyramid to a method that takes none.

    Args:
        method: The method.
        teacher: The teacher.
        student: The student.
        teacher_features: Dict from the teacher's taps to their features.
        student_features: The same of the student.
    """
    if method.takes_pyramid:
        return
    for model, taps, features in (
        (teacher, method.teacher_tap, teacher_features),
        (student, method.student_tap, student_features),
    ):
        for tap in taps if isinstance(taps, (list, tuple)) else [taps]:
            check_is_tensor(model, tap, features[tap])


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


def check_methods(methods, teacher):
    """Raises `ValueError` unless these are methods with names of their own."""
    for method in methods:
        if not isinstance(method, DistillationMethod):
            raise ValueError(
                "`methods` must be a list of keras_diffkd.DistillationMethod (or "
                "keras.distillation.DistillationLoss). "
                f"Received: {type(method).__name__}"
            )
    names = [method.name for method in methods]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            "Every method needs its own name, which prefixes its logs. Received: "
            f'{names}. Rename {repeated}, with `name="diffkd_logits"` for instance.'
        )
    if methods and teacher is None:
        raise ValueError(
            f"The methods {names} need a `teacher`. Received: teacher=None"
        )


def check_loss_names(method, results):
    """Raises `ValueError` if a method returned other names than it declares."""
    declared = {*method.loss_weights, *method.metric_names}
    if set(results) != declared:
        raise ValueError(
            f"Method {method.name!r} must return exactly the names in its "
            f"`loss_weights` and `metric_names`: {sorted(declared)}. "
            f"Received: {sorted(results)}"
        )


def check_labels(labels, classes):
    """Raises `ValueError` if labels lie outside the classes.

    Args:
        labels: Array or eager tensor of integers.
        classes: Number of classes that they may name, or `None` for no check.
    """
    if classes is None or 0 in labels.shape:
        return
    if labels.min() < 0 or labels.max() >= classes:
        received = f"{int(labels.min())} to {int(labels.max())}"
        raise ValueError(labels_message(classes, received))


def labels_message(classes, received):
    """Returns the error text for labels outside the classes."""
    return (
        f"Labels must lie in 0 to {classes - 1}: the student has {classes} classes. "
        f"Received: labels from {received}. Check the data set or the student's "
        "number of classes."
    )


def _united(student_inputs, teacher_inputs):
    """Returns both models' inputs as dictionaries of the batch that serves both.

    Each takes its own entries of it. They stay as they are if no entry is common.
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
