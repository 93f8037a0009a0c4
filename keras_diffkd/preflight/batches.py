"""A look at training data that takes nothing away from it."""

import dataclasses
import itertools
import numbers
import types

import keras
import numpy as np

# Batches that are read of a data set; samples of each that models run on.
NUM_BATCHES = 3
SAMPLES_PER_BATCH = 128
# What `fit` makes of arrays if it is not told.
DEFAULT_BATCH_SIZE = 32
# Arrays up to this size are looked at as a whole: about a second.
WHOLE_ARRAY_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class Look:
    """What was seen of the data, in NumPy arrays.

    Attributes:
        x: Inputs of all samples that were seen: of arrays, the arrays themselves; of
            a data set, those of its first batches. Leaves that are no dense arrays
            are `None`.
        y: Their targets, or `None`.
        sample_weight: Their weights, or `None`.
        chunks: List of `(x, y)` of few samples, for models to run on.
        batch_size: Integer, samples of a training step.
        in_order: Whether training sees the samples in this order.
        has_targets: Whether there are targets, whatever they are.
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
    """Reads the beginning of what `fit` is given.

    Args:
        x: What `fit` takes: arrays, a `tf.data.Dataset`, a `keras.utils.PyDataset`,
            a PyTorch `DataLoader` or a generator.
        y: Targets, if `x` are arrays.
        sample_weight: Weights, if `x` are arrays.
        batch_size: Integer of `fit`, for arrays.
        shuffle: Boolean of `fit`, for arrays.
        replay: Whether to read a batch of a generator, which then has lost it: what
            is returned in its place has not.

    Returns:
        `(look, x)`: a `Look`, or `None` for data of another kind, and what `fit` is
        to be given: `x` itself, or a generator that begins with the batches that
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
        return _look_at_batches(_of_py_dataset(x)), x
    if _is_dataset(x) or type(x).__name__ == "DataLoader":
        return _look_at_batches(list(itertools.islice(iter(x), NUM_BATCHES))), x
    return None, x


def to_numpy(leaf):
    """Returns a dense array or tensor as a NumPy array; `None` for anything else."""
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
    """Returns an array, or evenly spaced samples of one that is very large."""
    return array[:: max(1, -(-array.nbytes // WHOLE_ARRAY_BYTES))]


def _is_dataset(x):
    """Whether `x` is a `tf.data.Dataset`, and not one of a strategy's own."""
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


def _replayed(first, generator):
    """Yields the batches that were taken out of a generator, then the others."""
    yield from first
    # `yield from` would close the user's generator with this one, which ends with
    # `fit`; a second `fit` goes on with the user's.
    for batch in generator:  # noqa: UP028
        yield batch


def _look_at_arrays(x, y, sample_weight, batch_size, shuffle):
    has_targets = y is not None
    x, y, sample_weight = keras.tree.map_structure(to_numpy, (x, y, sample_weight))
    if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        batch_size = DEFAULT_BATCH_SIZE  # What is wrong with it is said elsewhere.
    count, size = _count(x), min(batch_size, SAMPLES_PER_BATCH)
    # Over all of the data: sorted arrays show more than one class.
    rows = np.unique(np.linspace(0, max(count - 1, 0), NUM_BATCHES * size, dtype=int))
    # No larger than a step's batch, which is known to fit into memory.
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
        batch_size=_count(batches[0][0]) if batches else 0,
        in_order=True,
        has_targets=bool(elements) and elements[0][1] is not None,
    )


def _concatenated(batches):
    """Returns the batches as one; the first alone where their shapes differ."""
    try:
        return keras.tree.map_structure(
            lambda *parts: None if parts[0] is None else np.concatenate(parts), *batches
        )
    except ValueError:
        return batches[0]


def _count(x):
    sizes = [a.shape[0] for a in keras.tree.flatten(x) if np.ndim(a)]
    return sizes[0] if sizes else 0


def _rows(structure, rows):
    def of(leaf):
        if leaf is None or not leaf.ndim:
            return leaf
        if isinstance(rows, slice):
            return leaf[rows]
        return leaf[rows[rows < len(leaf)]]

    return keras.tree.map_structure(of, structure)
