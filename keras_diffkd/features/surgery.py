"""Copies a model with one layer replaced."""

import keras

from keras_diffkd.features.paths import find_layer
from keras_diffkd.keras_private.layers import operation_of


def with_replaced_layer(model, path, make, fill):
    """Returns a copy of `model`, weights included, with one layer replaced.

    The model itself does not change and shares nothing with the copy.

    Args:
        model: A built functional or sequential `keras.Model`.
        path: Name or path of the layer. Models on the path must also be functional
            or sequential.
        make: Callable that receives the layer and returns its replacement: not built
            yet, with the same name and output shape.
        fill: Callable `(layer, new layer)` that sets the weights of the new layer.

    Raises:
        ValueError: If the layer does not exist, or if a model cannot be rebuilt.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> copy = with_replaced_layer(
    ...     model, "fc",
    ...     make=lambda old: keras.layers.Dense(2, activation="relu", name="fc"),
    ...     fill=lambda old, new: new.set_weights(old.get_weights()))
    >>> copy.get_layer("fc").activation.__name__
    'relu'
    """
    names = path.split("/")
    layer = find_layer(model, path)
    containers = [
        find_layer(model, "/".join(names[:depth])) for depth in range(1, len(names))
    ]
    clones = {}

    def clone(old):
        if id(old) not in clones:
            if old is layer:
                new = make(old)
            elif any(old is container for container in containers):
                new = _rebuilt(old, clone)
            else:
                new = old.__class__.from_config(old.get_config())
            clones[id(old)] = old, new
        return clones[id(old)][1]

    copy = _rebuilt(model, clone)
    for old, new in clones.values():
        if old is layer:
            fill(old, new)
        elif not any(old is container for container in containers):
            _copy_variables(old, new)
    return copy


def _rebuilt(model, clone):
    """Returns a model that is built from the clones of the layers."""
    reason = "it is not a functional or sequential model"
    if isinstance(model, keras.Sequential) or getattr(model, "outputs", None):
        try:
            copy = keras.models.clone_model(
                model, input_tensors=_new_inputs(model), clone_function=clone
            )
        except (NotImplementedError, TypeError, ValueError) as error:
            reason = str(error)
        else:
            if type(copy) is type(model):
                # Setting it sets every layer's own value: skip that where possible.
                if copy.trainable != model.trainable:
                    copy.trainable = model.trainable
                return copy
            reason = f"a copy of it is a {type(copy).__name__}"
    raise ValueError(
        "A layer can be replaced only in a model that Keras can rebuild from the "
        f"configurations of its layers. Received: {type(model).__name__} "
        f"{getattr(model, 'name', '')!r} ({reason}). Define the model with keras.Input "
        "and give every layer a `get_config`, or use another method."
    )


def _new_inputs(model):
    """Returns inputs with the same names, or `None` if Keras creates them itself."""
    if isinstance(model, keras.Sequential):
        return None
    return keras.tree.map_structure(
        lambda tensor: (
            type(operation_of(tensor))
            .from_config(operation_of(tensor).get_config())
            .output
        ),
        model.input,
    )


def _copy_variables(old, new):
    for source, target in zip(
        getattr(old, "variables", ()), getattr(new, "variables", ()), strict=True
    ):
        target.assign(keras.ops.convert_to_numpy(source.value))
