"""Finds layers by their path in nested models."""

import difflib
import re

import keras

from keras_diffkd.keras_private.layers import inner_layers


def find_layer(model, tap):
    """Returns the layer that a tap names.

    Args:
        model: A `keras.Model`.
        tap: String, a layer name or a path such as `"backbone/stack3"`. A colon and
            the key after it are ignored.

    Raises:
        ValueError: If the layer does not exist. The message lists the closest names.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> find_layer(model, "fc").name
    'fc'
    """
    layer, path = model, split_tap(tap)[0]
    for name in path.split("/"):
        layer = _child(layer, name)
        if layer is None:
            raise ValueError(_unknown_layer_message(model, path))
    return layer


def _child(layer, name):
    """Returns the layer with a name inside another layer, or `None`."""
    children = list(_children(layer))
    for child in children:
        if child.name == name:
            return child
    attribute = getattr(layer, name, None) if name.isidentifier() else None
    if isinstance(attribute, keras.layers.Layer):
        return attribute
    # Keras numbers default names: "pooling" is "pooling_3" in the fourth model.
    numbered = [c for c in children if re.fullmatch(rf"{re.escape(name)}_\d+", c.name)]
    return numbered[0] if len(numbered) == 1 else None


def _children(layer):
    return inner_layers(layer, recursive=False)


def all_paths(layer, prefix=""):
    """Yields the paths of all layers inside a layer or model."""
    for child in _children(layer):
        path = prefix + child.name
        yield path
        yield from all_paths(child, path + "/")


def _unknown_layer_message(model, tap):
    paths = list(all_paths(model))
    # The same name in another model comes first, because users forget the outer model.
    last = tap.rsplit("/", 1)[-1]
    closest = [path for path in paths if path.rsplit("/", 1)[-1] == last]
    closest += difflib.get_close_matches(tap, paths, n=5, cutoff=0.4)
    closest = list(dict.fromkeys(closest))[:5] or paths[-5:]
    return (
        f"Model {model.name!r} has no layer {tap!r}. Closest existing names: "
        f"{', '.join(map(repr, closest))}. To tap a layer in a nested model, use its "
        "path, 'outer/inner'."
    )


def split_tap(tap):
    """Returns `(path, key)` of a tap. An empty path stands for the model's output."""
    path, _, key = (tap or "").partition(":")
    return path, key
