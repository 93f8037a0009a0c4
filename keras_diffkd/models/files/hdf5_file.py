"""What an HDF5 file of weights may hold: arrays that are in the file itself."""

import math

import h5py

from keras_diffkd.errors import UnsafeModelError

# The largest models of keras.applications have some 3,000.
MAX_OBJECTS = 200_000
MAX_GROUP_DEPTH = 64
# Of 2 bytes without a meaning to HDF5: how bfloat16 is written.
_KINDS = "biufc"


def inspect_weights(file):
    """Checks an HDF5 file of weights; reads its structure, not its arrays.

    Keras writes groups with plain arrays of numbers, and so nothing else is let
    through: no soft, external or cyclic links, no arrays in other files (external
    storage, virtual datasets), no filters (which may decompress without end, or load
    plugins), no arrays that declare more than they store, no objects and references.

    Args:
        file: Path, or binary file object opened for reading.

    Returns:
        Integer, how many numbers all arrays have together.

    Raises:
        UnsafeModelError: If there is anything else in it, or it is damaged.

    Example:

    ```python
    inspect_weights("student.weights.h5")  # 846
    ```
    """
    try:
        with h5py.File(file, "r") as root:
            return _inspect(root)
    except UnsafeModelError:
        raise
    # HDF5 raises OSError, RuntimeError, KeyError, ValueError, as it comes.
    except Exception as error:
        raise UnsafeModelError(f"the weights are corrupt: {error}") from error


def _inspect(root):
    total, seen, stack = 0, set(), [(root, "", 0)]
    while stack:
        group, path, depth = stack.pop()
        if depth > MAX_GROUP_DEPTH:
            raise UnsafeModelError(f"groups of weights in {depth} levels")
        for name in group:
            here = f"{path}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UnsafeModelError(f"a link in the weights: {here!r}")
            child = group[name]
            address = h5py.h5o.get_info(child.id).addr
            if address in seen:
                raise UnsafeModelError(f"weights under two names: {here!r}")
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise UnsafeModelError(f"more than {MAX_OBJECTS} arrays of weights")
            if isinstance(child, h5py.Group):
                stack.append((child, here, depth + 1))
            else:
                total += _check_array(child, here)
    return total


def _check_array(array, path):
    """Returns the size of an array that lies in the file as it is."""
    if not isinstance(array, h5py.Dataset):
        raise UnsafeModelError(f"no array: {path!r}")
    dtype = array.dtype
    if dtype.kind not in _KINDS and (dtype.kind, dtype.itemsize) != ("V", 2):
        raise UnsafeModelError(f"weights of type {dtype}: {path!r}")
    if array.external or array.is_virtual:
        raise UnsafeModelError(f"weights that are in another file: {path!r}")
    if array.id.get_create_plist().get_nfilters():
        raise UnsafeModelError(f"weights behind a filter: {path!r}")
    if array.shape is None:
        raise UnsafeModelError(f"weights without a shape: {path!r}")
    size = math.prod(array.shape)
    declared, stored = size * dtype.itemsize, array.id.get_storage_size()
    if declared != stored:
        raise UnsafeModelError(
            f"weights that declare {declared} bytes and have {stored}: {path!r}"
        )
    return size
