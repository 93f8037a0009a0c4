"""Tells the shapes and dtypes of a model's features without data."""

import keras

from keras_diffkd.features.own_inputs import own_inputs
from keras_diffkd.features.paths import all_paths, find_layer, split_tap
from keras_diffkd.features.taps import call_with_taps, recording, selected, tensors_of


def input_spec(model):
    """Returns the model's inputs as `KerasTensor`s, or `None` if they are unknown.

    A subclassed model has the shape that it was built with. Its inputs are assumed to
    be float32 with an unknown batch size.
    """
    inputs = getattr(model, "inputs", None)
    if inputs:
        # A Sequential that was never called has `inputs` but no `input`.
        structure = inputs if isinstance(model, keras.Sequential) else model.input
        if isinstance(structure, (list, tuple)) and len(structure) == 1:
            structure = structure[0]
        return keras.tree.map_structure(
            lambda t: keras.KerasTensor(t.shape, dtype=t.dtype, name=t.name), structure
        )
    config = model.get_build_config()
    if not config or "input_shape" not in config:
        return None
    return keras.tree.map_shape_structure(
        lambda shape: keras.KerasTensor((None, *shape[1:])), config["input_shape"]
    )


def output_specs(model, inputs, taps):
    """Returns `(outputs, features)` of `call_with_taps` as `KerasTensor`s."""
    taps = list(dict.fromkeys(taps))
    symbolic = _symbolic_features(model, [tap for tap in taps if split_tap(tap)[0]])
    own = own_inputs(model, inputs)
    leaves = keras.tree.flatten(own)
    if symbolic is None or len(leaves) != 1:
        return _traced_specs(model, inputs, taps)
    outputs = model.compute_output_spec(own)
    if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
        outputs = outputs[0]  # As the call returns it.
    features = {}
    if symbolic:
        function = keras.Function(model.inputs, list(symbolic.values()), model.name)
        specs = function.compute_output_spec(leaves)
        features = dict(zip(symbolic, specs, strict=True))
    return outputs, {
        tap: selected(model, tap, features.get(tap, outputs)) for tap in taps
    }


def _symbolic_features(model, taps):
    """Returns a dict from tap to what its layer returns in the model's own graph.

    It is `None` where the graph does not tell: for models that are not functional or
    have several inputs, for taps inside nested models, and for layers that run several
    times or return more than one tensor.
    """
    # A subclass of a functional model may have a `call` of its own.
    is_functional = isinstance(model, keras.Function) and (
        type(model).call.__module__.startswith("keras.")
    )
    if not is_functional or len(model.inputs) != 1:
        return None
    features = {}
    for tap in taps:
        layer = find_layer(model, tap)
        is_own = any(layer is each for each in model.layers)
        if not is_own or isinstance(layer, (keras.layers.InputLayer, keras.Model)):
            return None
        try:
            features[tap] = layer.output
        except AttributeError:  # It runs several times.
            return None
        if not isinstance(features[tap], keras.KerasTensor):  # Its structure is lost.
            return None
    return features


def _traced_specs(model, inputs, taps):
    problems = []

    class TappedCall(keras.layers.Layer):
        def call(self, inputs):
            try:
                outputs, features = call_with_taps(model, inputs, taps, training=False)
                # Not a dict: JAX and PyTorch cannot sort the keys None and "name".
                return outputs, [features[tap] for tap in taps]
            except ValueError as error:
                problems.append(error)
                raise

    try:
        outputs, features = TappedCall(dtype=model.dtype_policy).compute_output_spec(
            inputs
        )
    except Exception:
        # Keras wraps the error in advice on `compute_output_spec`.
        if problems:
            raise problems[0] from None
        raise
    return outputs, dict(zip(taps, features, strict=True))


def list_taps(model):
    """Lists the taps of a model and the shapes of their features.

    Args:
        model: A built `keras.Model` whose inputs are known (see `input_spec`).

    Returns:
        Dict from path to shape tuple, in the order of the model's layers. It contains
        the layers that run exactly once and return a tensor or a dictionary of tensors
        (as `"neck:P3"`).

    Raises:
        ValueError: If the model's input shape is unknown.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> list_taps(model)
    {'fc': (None, 2)}
    """
    inputs = input_spec(model)
    if inputs is None:
        raise ValueError(
            f"The input shape of {model.name!r} is unknown, so the shapes of its "
            "features are too. Call `model.build(input_shape)`, or define the model "
            "with keras.Input."
        )
    layers = {path: find_layer(model, path) for path in all_paths(model)}
    taps = []

    class RecordedCall(keras.layers.Layer):
        def call(self, inputs):
            with recording(layers.values()) as records:
                model(inputs, training=False)
            found = {}
            for path, layer in layers.items():
                found |= tensors_of(path, records[id(layer)])
            taps[:] = found
            return list(found.values())

    specs = RecordedCall(dtype=model.dtype_policy).compute_output_spec(inputs)
    return {path: tuple(spec.shape) for path, spec in zip(taps, specs, strict=True)}
