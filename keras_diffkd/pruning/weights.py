"""Finds which part of a layer's weights each channel has."""


def labeled_weights(layer, change):
    """Yields `(weight, axes)` for each weight of a layer.

    Args:
        layer: `keras.Layer`.
        change: `Change` of the layer, or `None`.

    Returns:
        Iterator. `axes` is a dict from axes, of at least 0, to the atoms along them.
    """
    described = {} if change is None else change.weights
    for weight in layer.weights:
        axes = {}
        for end, given in described.items():
            if weight.path == end or weight.path.endswith(f"/{end}"):
                rank = len(weight.shape)
                axes = {axis % rank: atoms for axis, atoms in given.items()}
        yield weight, axes


def uses_of(change, weight):
    """Returns how often one call multiplies each element of a weight."""
    for end, uses in change.uses.items():
        if weight.path == end or weight.path.endswith(f"/{end}"):
            return uses
    return 0
