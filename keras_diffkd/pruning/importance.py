"""Scores channels by their weights."""

import keras
import numpy as np

from keras_diffkd.pruning.weights import labeled_weights


def l2(path, rows):
    """Scores channels by their squared weights, relative to the mean of the layer.

    Source: the group norm of "DepGraph: Towards Any Structural Pruning" (Fang et al.,
    arXiv 2301.12900), with a sum over the layers that lose a channel together.

    Args:
        path: String, the path of the weight.
        rows: Float array `(channels, elements)`.

    Returns:
        Float array `(channels,)`.
    """
    scores = np.sum(np.square(rows), axis=1)
    return scores / max(scores.mean(), 1e-30)


def batch_norm(path, rows):
    """Scores channels by the scales of batch normalization, and 0 by other weights.

    Source: "Learning Efficient Convolutional Networks through Network Slimming" (Liu
    et al., arXiv 1708.06519).

    Args:
        path: String, the path of the weight.
        rows: Float array `(channels, elements)`.

    Returns:
        Float array `(channels,)`.
    """
    is_scale = path.rpartition("/")[2] == "gamma"
    return np.abs(rows).sum(axis=1) if is_scale else np.zeros(len(rows))


def channel_scores(graph, groups, score, values=None):
    """Returns a list of float arrays: the score of each channel of each group.

    Args:
        graph: `ChannelGraph`.
        groups: List of `Group`.
        score: Callable `(path, rows)` as `l2`. The scores of all rows of a channel in
            all weights are added.
        values: Dict from ids of weights to arrays to score instead of the weights.
    """
    size = graph.channels.count
    group_of, place = np.full(size, -1), np.zeros(size, int)
    for index, group in enumerate(groups):
        group_of[group.atoms] = index
        place[group.atoms] = np.arange(len(group.atoms))
    scores = [np.zeros(len(group.atoms)) for group in groups]
    for layer, _ in graph.layers.values():
        change = graph.changes.get(id(layer))
        if change is None or not change.weights:
            continue
        for weight, axes in labeled_weights(layer, change):
            # Statistics say nothing about use, and frozen weights do.
            if not axes or weight.path.rpartition("/")[2].startswith("moving_"):
                continue
            # The positions of a ViT are a copy, which has no gradient.
            if values is not None and id(weight) not in values:
                continue
            value = weight.value if values is None else values[id(weight)]
            whole = keras.ops.convert_to_numpy(value).astype("float64")
            for axis, atoms in axes.items():
                roots = graph.channels.roots(atoms)
                rows = np.moveaxis(whole, axis, 0).reshape(len(roots), -1)
                for index in set(group_of[roots].tolist()) - {-1}:
                    chosen = group_of[roots] == index
                    found = _checked(score, weight.path, rows[chosen])
                    np.add.at(scores[index], place[roots[chosen]], found)
    return scores


def _checked(score, path, rows):
    found = np.asarray(score(path, rows), float)
    if found.shape != (len(rows),) or not np.all(np.isfinite(found)):
        raise ValueError(
            f"`importance` must return {len(rows)} finite scores, one for each row. "
            f"Received: {found!r} for {path!r}"
        )
    return found
