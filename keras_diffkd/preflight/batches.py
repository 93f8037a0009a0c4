"""Reads the first samples of training data without consuming them."""

import dataclasses
import itertools
import numbers
import types

import keras
import numpy as np

from keras_diffkd.preflight.random_states import same_random_states

# Number of batches to read from a data set, and of samples in each to run models on.
NUM_BATCHES = 3
SAMPLES_PER_BATCH = 128
# The default of `fit` for arrays.
DEFAULT_BATCH_SIZE = 32
# Arrays up to this size are checked completely, which takes about a second.
WHOLE_ARRAY_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class Look:
    """Holds the part of the data that was read, as NumPy arrays.

    Attributes:
        x: Inputs of the samples that were read: the arrays themselves, or the first
            batches of a data set. Leaves that are not dense arrays are `None`.
        y: Targets of these samples, or `None`.
        sample_weight: Weights of these samples, or `None`.
        chunks: List of `(x, y)` with a few samples each, to run the models on.
        batch_size: Integer, the number of samples in a training step.
        in_order: Boolean, whether training uses the samples in this order.
        has_targets: Boolean, whether the data has targets of any kind.
    """

    x: object
    y: object
    sample_weight: object
    chunks: list
    batch_size: int
    in_order: bool
    has_targets: bool


def look_at(
    x, y=None, sample_weight=None, *, batch_size=None, shuffle=True, replay=False
):
    """Reads the first samples of the data that is passed to `fit`.

    Args:
        x: Data as `fit` takes it: arrays, a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a PyTorch `DataLoader` or a generator.
        y: Targets, if `x` holds arrays.
        sample_weight: Weights, if `x` holds arrays.
        batch_size: Integer, the `batch_size` of `fit`, for arrays.
        shuffle: Boolean, the `shuffle` of `fit`, for arrays.
        replay: Boolean, whether to read a batch of a generator. Train on the returned
            generator in that case, because `x` has lost the batch.

    Returns:
        `(look, x)`: a `Look`, or `None` for data of another kind, and the data to
        train on. That is `x` itself, or a generator that starts with the batches that
        were read.

    Example:

    >>> look, _ = look_at(np.ones((8, 4)), np.zeros(8, "int32"), batch_size=4)
    >>> look.y.shape, look.batch_size
    ((8,), 4)
    """
    if _are_arrays((x, y, sample_weight)):
        return _look_at_arrays(x, y, sample_weight, batch_size, shuffle), x
    if isinstance(x, types.GeneratorType) and replay:
        first = list(itertools.islice(x, 1))
        return _look_at_batches(first), _replayed(first, x)
    if isinstance(x, keras.utils.PyDataset):
        read = _of_py_dataset
    elif _is_dataset(x) or type(x).__name__ == "DataLoader":
        read = _first_batches
    else:
        return None, x
    with same_random_states(x):
        return _look_at_batches(read(x)), x


def to_numpy(leaf):
    """Returns a dense array or tensor as a NumPy array, or `None` for other data."""
    if leaf is None or hasattr(leaf, "tocoo"):
        return None
    if hasattr(leaf, "to_numpy"):  # pandas
        leaf = leaf.to_numpy()
    if hasattr(leaf, "detach"):  # PyTorch
        leaf = leaf.detach().cpu()
    try:
        array = np.asarray(leaf)
    except (TypeError, ValueError, NotImplementedError):
        return None
    # Ragged and sparse tensors become an array of one object.
    return None if array.dtype == object and not array.ndim else array


def thinned(array):
    """Returns an array, or evenly spaced samples of it if it is very large."""
    return array[:: max(1, -(-array.nbytes // WHOLE_ARRAY_BYTES))]


def _is_dataset(x):
    """Returns whether `x` is a `tf.data.Dataset`, but not a distributed one."""
    return hasattr(x, "element_spec") and hasattr(x, "as_numpy_iterator")


def _are_arrays(structure):
    leaves = [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]
    return bool(leaves) and all(
        hasattr(leaf, "shape") and hasattr(leaf, "__getitem__") for leaf in leaves
    )


def _of_py_dataset(dataset):
    length = dataset.num_batches
    return [
        dataset[index]
        for index in range(NUM_BATCHES if length is None else min(length, NUM_BATCHES))
    ]


def _first_batches(dataset):
    return list(itertools.islice(iter(dataset), NUM_BATCHES))


def _replayed(first, generator):
    """Yields the batches that were read from a generator, then the others."""
    yield from first
    # `yield from` would close the user's generator when `fit` closes this one, and a
    # second `fit` continues with the user's.
    for batch in generator:  # noqa: UP028
        yield batch


def _look_at_arrays(x, y, sample_weight, batch_size, shuffle):
    has_targets, count = y is not None, _count(x)
    x, y, sample_weight = keras.tree.map_structure(to_numpy, (x, y, sample_weight))
    if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        batch_size = DEFAULT_BATCH_SIZE  # `check_fit_arguments` reports the error.
    size = min(batch_size, SAMPLES_PER_BATCH)
    # Spread over all of the data, so that sorted arrays show more than one class.
    rows = np.unique(np.linspace(0, max(count - 1, 0), NUM_BATCHES * size, dtype=int))
    # No larger than the batch of a step, which fits into memory.
    parts = [rows[i : i + size] for i in range(0, len(rows), size)] if count else []
    return Look(
        x=x,
        y=y,
        sample_weight=sample_weight,
        chunks=[_rows((x, y), part) for part in parts],
        batch_size=batch_size,
        in_order=not shuffle,
        has_targets=has_targets,
    )


def _look_at_batches(elements):
    elements = [tuple(keras.utils.unpack_x_y_sample_weight(e)) for e in elements]
    batches = [keras.tree.map_structure(to_numpy, element) for element in elements]
    x = y = sample_weight = None
    if batches:
        x, y, sample_weight = _concatenated(batches)
    return Look(
        x=x,
        y=y,
        sample_weight=sample_weight,
        chunks=[_rows((x, y), slice(SAMPLES_PER_BATCH)) for x, y, _ in batches],
        batch_size=_count(elements[0][0]) if elements else 0,
        in_order=True,
        has_targets=bool(elements) and elements[0][1] is not None,
    )


def _concatenated(batches):
    """Returns the batches as one batch, or only the first if their shapes differ."""
    try:
        return keras.tree.map_structure(
            lambda *parts: None if parts[0] is None else np.concatenate(parts), *batches
        )
    except ValueError:
        return batches[0]


def _count(x):
    """Returns the number of samples, of sparse and ragged tensors too."""
    shapes = [getattr(leaf, "shape", ()) for leaf in keras.tree.flatten(x)]
    sizes = [shape[0] for shape in shapes if len(shape)]
    return sizes[0] if sizes else 0


def _rows(structure, rows):
    def of(leaf):
        if leaf is None or not leaf.ndim:
            return leaf
        if isinstance(rows, slice):
            return leaf[rows]
        return leaf[rows[rows < len(leaf)]]

    return keras.tree.map_structure(of, structure)
