"""Scores channels by what the loss would change without them."""

import itertools

import keras
import numpy as np

from keras_diffkd.pruning.importance import channel_scores
from keras_diffkd.training import backend

# Batches that are read at most.
BATCHES = 16


def taylor_scores(graph, groups, data, loss):
    """Returns a list of float arrays: the score of each channel of each group.

    The score is `(sum of weight * gradient)**2` over the weights of a channel, added
    over weights and batches.

    Source: "Importance Estimation for Neural Network Pruning" (Molchanov et al., arXiv
    1906.10771), with the weights of a channel as one group.

    Args:
        graph: `ChannelGraph`.
        groups: List of `Group`.
        data: Iterable of batches `(x, y)`.
        loss: `keras.losses.Loss`, its name, or a callable `(y_true, y_pred)`; `None`:
            the loss that the model was compiled with.
    """
    loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    weights = list({id(w): w for w in graph.model.weights if _is_float(w)}.values())
    total, count = None, 0
    for x, y in itertools.islice(iter(data), BATCHES):
        gradients = _gradients(graph.model, weights, x, y, loss)
        products = {
            id(weight): keras.ops.convert_to_numpy(weight.value) * gradient
            for weight, gradient in zip(weights, gradients, strict=True)
        }
        scores = channel_scores(graph, groups, _squared_sums, products)
        total = scores if total is None else list(map(np.add, total, scores))
        count += 1
    if not count:
        raise ValueError(
            "`data` must have at least one batch (x, y) for importance='taylor'. "
            "Received: no batches"
        )
    return total


def _squared_sums(path, rows):
    del path
    return np.square(rows.sum(axis=1))


def _gradients(model, weights, x, y, loss):
    """Returns the gradients of the mean loss of a batch as arrays."""
    sizes = [int(np.prod(weight.shape)) for weight in weights]
    ends = np.cumsum(sizes)[:-1].tolist()
    flat = keras.ops.concatenate(
        [
            keras.ops.reshape(keras.ops.cast(weight.value, "float32"), (-1,))
            for weight in weights
        ]
    )

    def mean_loss(vector):
        parts = keras.ops.split(vector, ends)
        mapping = [
            (w, keras.ops.cast(keras.ops.reshape(part, w.shape), w.dtype))
            for w, part in zip(weights, parts, strict=True)
        ]
        with keras.StatelessScope(state_mapping=mapping):
            outputs = model(x, training=False)
            if loss is None:
                return model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=None)
        return keras.ops.mean(loss(y, outputs))

    gradient = keras.ops.convert_to_numpy(backend.gradient(mean_loss, flat))
    if not np.all(np.isfinite(gradient)):
        raise ValueError(
            "The gradients of the loss must be finite for importance='taylor'. "
            "Received: NaN or infinity. Check `data` and `loss`"
        )
    return [
        part.reshape(weight.shape)
        for weight, part in zip(weights, np.split(gradient, ends), strict=True)
    ]


def _is_float(weight):
    return "float" in weight.dtype
