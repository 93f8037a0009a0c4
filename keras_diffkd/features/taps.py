"""Reading intermediate features out of any Keras model.

A tap is `None` (the model's output), the name of a layer, or a path of names
into nested models (`"backbone/stack3"`); a name may also be that of an attribute
that holds a layer, as KerasHub's tasks call theirs `backbone`, and it may lack the
number that Keras added to it, if that leaves no doubt. Of a layer that
gives a dictionary, `"backbone/fpn:P3"` is one entry and `":cls_logits"` one of
the model's own output. The model is not edited: while it runs, the tapped layers
remember what they return.
"""

import contextlib
import threading

import keras

from keras_diffkd.features.hooks import CallShadow
from keras_diffkd.features.own_inputs import own_inputs
from keras_diffkd.features.paths import all_paths, find_layer, split_tap

_records = threading.local()


def call_with_taps(model, inputs, taps, **kwargs):
    """Runs `model` once and returns its outputs and the tapped features.

    Args:
        model: A `keras.Model`.
        inputs: What the model takes, or a dictionary that holds more.
        taps: Iterable of taps (`None`, names or paths).
        **kwargs: Passed to the model, `training=...` for example.

    Returns:
        `(outputs, features)`, where `features` maps each tap to its tensor, or
        to the dictionary of tensors that its layer gives.

    Raises:
        ValueError: If a tap names no layer or no entry, or its layer does not run
            exactly once in this forward pass or gives something else.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> outputs, features = call_with_taps(
    ...     model, keras.ops.ones((1, 4)), ["fc"], training=False)
    >>> features["fc"].shape
    TensorShape([1, 2])
    """
    taps = list(dict.fromkeys(taps))
    layers = {tap: find_layer(model, tap) for tap in taps if split_tap(tap)[0]}
    with _recording(layers.values()) as records:
        outputs = model(own_inputs(model, inputs), **kwargs)
    features = {}
    for tap in taps:
        feature = outputs
        if tap in layers:
            feature = _single_record(model, tap, records[id(layers[tap])])
        features[tap] = _selected(model, tap, feature)
    return outputs, features


def input_spec(model):
    """Returns the model's inputs as `KerasTensor`s, or `None` if unknown.

    Subclassed models know the shape they were built with; their inputs are
    taken to be float32 with a free batch axis.
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
        # Keras wraps what went wrong in advice on `compute_output_spec`.
        if problems:
            raise problems[0] from None
        raise
    return outputs, dict(zip(taps, features, strict=True))


def list_taps(model):
    """Returns what can be tapped in a model, and the shape it gives.

    Args:
        model: A built `keras.Model` that says what it takes (see `input_spec`).

    Returns:
        Dict from path to shape tuple, in the order in which the model holds its
        layers: those that run exactly once and return a tensor, or a dictionary of
        tensors (`"neck:P3"` is one of them).

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
            f"The input shape of {model.name!r} is unknown, so it cannot be run to see "
            "what its layers give. Call `model.build(input_shape)`, or define it with "
            "keras.Input."
        )
    layers = {path: find_layer(model, path) for path in all_paths(model)}
    taps = []

    class RecordedCall(keras.layers.Layer):
        def call(self, inputs):
            with _recording(layers.values()) as records:
                model(inputs, training=False)
            found = {}
            for path, layer in layers.items():
                found |= _tensors_of(path, records[id(layer)])
            taps[:] = found
            return list(found.values())

    specs = RecordedCall(dtype=model.dtype_policy).compute_output_spec(inputs)
    return {path: tuple(spec.shape) for path, spec in zip(taps, specs, strict=True)}


@contextlib.contextmanager
def _recording(layers):
    """Lets the layers remember what they return while the block runs.

    The records are kept per thread, since the replicas of a mirrored strategy
    trace the same layers in several threads; the shadow is shared by all.
    """
    layers = list(layers)
    outer = getattr(_records, "active", None)
    _records.active = {id(layer): [] for layer in layers}
    try:
        with _shadow.over(layers):
            yield _records.active
    finally:
        _records.active = outer


@contextlib.contextmanager
def no_taps():
    """Refuses taps of the layers that run in the block: its tensors do not leave it."""
    outer = getattr(_records, "is_closed", False)
    _records.is_closed = True
    try:
        yield
    finally:
        _records.is_closed = outer


def _remembering(layer, original):
    def call(*args, **kwargs):
        outputs = original(*args, **kwargs)
        active = getattr(_records, "active", None)
        if active is not None and id(layer) in active:
            if getattr(_records, "is_closed", False):
                raise ValueError(
                    f"The tapped layer {layer.path!r} runs inside a block under "
                    "`keras.remat`, of which only the output can be tapped. "
                    "Tap the layer that holds the block, or the one after."
                )
            active[id(layer)].append(outputs)
        return outputs

    return call


_shadow = CallShadow(_remembering)


def _single_record(model, tap, record):
    if len(record) == 1:
        return record[0]
    if not record:
        reason = (
            "its layer did not run in the forward pass (an input layer, an inner "
            "model whose layers are called directly, or a branch that is not taken)"
        )
    else:
        reason = f"its layer ran {len(record)} times in one forward pass"
    raise ValueError(
        f"Tap {tap!r} of model {model.name!r} gives no single feature: {reason}. "
        "Tap a layer that runs exactly once, for instance the one after it."
    )


def _is_tensor(feature):
    return hasattr(feature, "shape") and hasattr(feature, "dtype")


def _tensors_of(path, record):
    """Returns a dict from tap to tensor of what a layer returned, if it ran once."""
    if len(record) != 1:
        return {}
    output = record[0]
    if isinstance(output, dict):
        return {f"{path}:{k}": t for k, t in output.items() if _is_tensor(t)}
    return {path: output} if _is_tensor(output) else {}


def _selected(model, tap, feature):
    """Returns the tensor, or dictionary of tensors, that a tap names."""
    path, key = split_tap(tap)
    if key and not (isinstance(feature, dict) and key in feature):
        received = list(feature) if isinstance(feature, dict) else "a tensor"
        raise ValueError(
            f"Tap {tap!r} of model {model.name!r} names the entry {key!r} of a "
            f"dictionary that is not there. Received: {received}."
        )
    feature = feature[key] if key else feature
    values = list(feature.values()) if isinstance(feature, dict) else [feature]
    if not all(map(_is_tensor, values)):
        raise ValueError(
            f"The {_named(tap)} of model {model.name!r} must be a tensor, or a "
            f"dictionary of tensors. Received: {type(feature).__name__}. Tap the layer "
            "that gives the tensor."
        )
    return feature


def check_is_tensor(model, tap, feature):
    """Raises `ValueError` if a tap gives a dictionary where one tensor is needed."""
    if isinstance(feature, dict):
        raise ValueError(
            f"The {_named(tap)} of model {model.name!r} must be a single tensor. "
            f"Received: dict with the keys {list(feature)}. Tap one of its entries: "
            f"'{tap or ''}:{next(iter(feature))}' for example."
        )


def _named(tap):
    return "output" if tap is None else f"tap {tap!r}"
