"""Checks that models are built, finite, trainable, and do not share weights."""

import keras

from keras_diffkd.keras_private.layers import all_layers

# Their code is a PyTorch module or a SavedModel, which has the variables itself. A step
# computes with values in place of variables, and its gradients are those of the values.
_FOREIGN = (keras.layers.TFSMLayer, keras.layers.TorchModuleWrapper)


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
                f"infinity in {variable.path!r}. Train it again with a smaller "
                "learning rate, or continue from an older snapshot."
            )


def check_student(student):
    """Raises `ValueError` unless `student` is a built model that a step can train."""
    check_model(student, "student")
    for layer in all_layers(student):
        if isinstance(layer, _FOREIGN) and layer.trainable_weights:
            raise ValueError(
                "The student must consist of Keras layers: a training step cannot "
                "train the weights of a TFSMLayer or TorchModuleWrapper. "
                f"Received: the {type(layer).__name__} {layer.name!r} with "
                f"{len(layer.trainable_weights)} trainable weights. Build this part of "
                "Keras layers and copy its weights, or freeze it (`layer.trainable = "
                "False`). A teacher may have such layers."
            )


def check_nothing_shared(teacher, student):
    """Raises `ValueError` if training the student would change the teacher."""
    if teacher is student:
        raise ValueError(
            "Teacher and student must not share weights: they must be two models. "
            f"Received: {student.name!r} as both. Make a copy with "
            "`keras.models.clone_model` and `set_weights`."
        )
    of_teacher = {id(variable) for variable in teacher.variables}
    shared = [v for v in _moving_variables(student) if id(v) in of_teacher]
    if shared:
        raise ValueError(
            "Teacher and student must not share trainable weights: training would "
            f"change both. Received: {len(shared)} shared weights, such as "
            f"{shared[0].path!r}. Make a copy with `keras.models.clone_model` and "
            "`set_weights`, or freeze the shared layers (`layer.trainable = False`)."
        )


def _moving_variables(model):
    """Returns the weights that training may change.

    Training changes no weight of a frozen layer, not even the statistics of a frozen
    batch normalization.
    """
    frozen = {
        id(weight)
        for layer in all_layers(model)
        if not layer.trainable
        for weight in layer.weights
    }
    return [w for w in model.weights if w.trainable or id(w) not in frozen]
