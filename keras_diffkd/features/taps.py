"""Reads intermediate features from any Keras model.

A tap is `None` (the model's output), the name of a layer, or a path of names into
nested models (`"backbone/stack3"`). A name may also be an attribute that holds a layer,
such as `backbone` in KerasHub's tasks. The number that Keras adds to a default name may
be left out if the name is unique without it. If a layer returns a dictionary,
`"backbone/fpn:P3"` is one of its entries, and `":cls_logits"` is an entry of the
model's output. The model does not change: while it runs, the tapped layers record their
outputs.
"""

import contextlib
import threading

from keras_diffkd.features.hooks import CallShadow
from keras_diffkd.features.own_inputs import own_inputs
from keras_diffkd.features.paths import find_layer, split_tap

_records = threading.local()


def call_with_taps(model, inputs, taps, collector=None, **kwargs):
    """Runs `model` once and returns its outputs and the tapped features.

    Args:
        model: A `keras.Model`.
        inputs: Inputs of the model, or a dictionary that contains them.
        taps: Iterable of taps (`None`, names or paths).
        collector: Optional `TappedTensors`, which collects the tapped tensors.
        **kwargs: Arguments of the model's call, `training=...` for example.

    Returns:
        `(outputs, features)`. `features` maps each tap to its tensor, or to the
        dictionary of tensors that its layer returns.

    Raises:
        ValueError: If a tap does not name a layer or an entry, or if its layer does not
            run exactly once in this forward pass or does not return tensors.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> outputs, features = call_with_taps(
    ...     model, keras.ops.ones((1, 4)), ["fc"], training=False)
    >>> features["fc"].shape
    TensorShape([1, 2])
    """
    taps = list(dict.fromkeys(taps))
    layers = {tap: find_layer(model, tap) for tap in taps if split_tap(tap)[0]}
    paths = {id(layer): split_tap(tap)[0] for tap, layer in layers.items()}

    def through(layer, outputs):
        return collector.tap(paths[id(layer)], outputs)

    with recording(layers.values(), collector and through) as records:
        outputs = model(own_inputs(model, inputs), **kwargs)
    if collector is not None and len(layers) < len(taps):
        outputs = collector.tap("", outputs)
    features = {}
    for tap in taps:
        feature = outputs
        if tap in layers:
            feature = _single_record(model, tap, records[id(layers[tap])])
        features[tap] = selected(model, tap, feature)
    return outputs, features


@contextlib.contextmanager
def recording(layers, through=None):
    """Records the outputs of layers while the block runs.

    The records are separate for each thread, because the replicas of a mirrored
    strategy trace the same layers in several threads. All threads share the shadow.

    Args:
        layers: Iterable of layers.
        through: Optional callable `(layer, outputs) -> outputs`, which may change what
            the layers return.
    """
    layers = list(layers)
    outer = getattr(_records, "active", None), getattr(_records, "through", None)
    _records.active, _records.through = {id(layer): [] for layer in layers}, through
    try:
        with _shadow.over(layers):
            yield _records.active
    finally:
        _records.active, _records.through = outer


@contextlib.contextmanager
def no_taps():
    """Rejects taps of layers that run in the block, whose tensors cannot leave it."""
    outer = getattr(_records, "is_closed", False)
    _records.is_closed = True
    try:
        yield
    finally:
        _records.is_closed = outer


def _recording_call(layer, original):
    def call(*args, **kwargs):
        outputs = original(*args, **kwargs)
        active = getattr(_records, "active", None)
        if active is not None and id(layer) in active:
            if getattr(_records, "is_closed", False):
                raise ValueError(
                    f"The tapped layer {layer.path!r} runs inside a block under "
                    "`keras.remat`. Only the output of such a block can be tapped. Tap "
                    "the layer that contains the block, or the one after it."
                )
            if _records.through is not None:
                outputs = _records.through(layer, outputs)
            active[id(layer)].append(outputs)
        return outputs

    return call


_shadow = CallShadow(_recording_call)


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
        f"Tap {tap!r} of model {model.name!r} does not give exactly one feature: "
        f"{reason}. Tap a layer that runs exactly once, such as the one after it."
    )


def _is_tensor(feature):
    return hasattr(feature, "shape") and hasattr(feature, "dtype")


def tensors_of(path, record):
    """Returns a dict from tap to tensor, empty unless the layer ran exactly once."""
    if len(record) != 1:
        return {}
    output = record[0]
    if isinstance(output, dict):
        return {f"{path}:{k}": t for k, t in output.items() if _is_tensor(t)}
    return {path: output} if _is_tensor(output) else {}


def selected(model, tap, feature):
    """Returns the tensor, or dictionary of tensors, that a tap names."""
    path, key = split_tap(tap)
    if key and not (isinstance(feature, dict) and key in feature):
        received = list(feature) if isinstance(feature, dict) else "a tensor"
        raise ValueError(
            f"Tap {tap!r} of model {model.name!r} must name an entry of a dictionary: "
            f"{key!r} does not exist. Received: {received}. Use one of the keys, or "
            "leave out the colon."
        )
    feature = feature[key] if key else feature
    values = list(feature.values()) if isinstance(feature, dict) else [feature]
    if not all(map(_is_tensor, values)):
        raise ValueError(
            f"The {_named(tap)} of model {model.name!r} must be a tensor, or a "
            f"dictionary of tensors. Received: {type(feature).__name__}. Tap a layer "
            "that returns a tensor."
        )
    # JAX does not take the dictionaries that Keras makes of a layer's attributes.
    return dict(feature) if isinstance(feature, dict) else feature


def check_is_tensor(model, tap, feature):
    """Raises `ValueError` if a tap gives a dictionary where one tensor is needed."""
    if isinstance(feature, dict):
        raise ValueError(
            f"The {_named(tap)} of model {model.name!r} must be a single tensor. "
            f"Received: dict with the keys {list(feature)}. Tap one of its entries, "
            f"such as '{tap or ''}:{next(iter(feature))}'."
        )


def _named(tap):
    return "output" if tap is None else f"tap {tap!r}"
