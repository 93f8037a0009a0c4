"""Checks that an HDF5 weights file holds only arrays stored in the file itself."""

import math

import h5py

from keras_diffkd.errors import UnsafeModelError

# The largest models of keras.applications have about 3,000.
MAX_OBJECTS = 200_000
MAX_GROUP_DEPTH = 64
# Kinds of NumPy dtypes. bfloat16 is written as 2 opaque bytes, kind V.
_KINDS = "biufc"


def inspect_weights(file):
    """Checks the structure of an HDF5 weights file without reading its arrays.

    Keras writes groups with plain arrays of numbers. Everything else is rejected: soft,
    external and cyclic links; arrays in other files (external storage, virtual
    datasets); filters, which may decompress without end or load plugins; arrays that
    declare more than they store; objects and references.

    Args:
        file: Path, or binary file object that is open for reading.

    Returns:
        Integer, the number of values in all arrays together.

    Raises:
        UnsafeModelError: If the file has other content, or is damaged.
    """
    try:
        with h5py.File(file, "r") as root:
            return _inspect(root)
    except UnsafeModelError:
        raise
    # HDF5 raises OSError, RuntimeError, KeyError, ValueError and more.
    except Exception as error:
        raise UnsafeModelError(f"the weights are corrupt: {error}") from error


def _inspect(root):
    total, seen, stack = 0, set(), [(root, "", 0)]
    while stack:
        group, path, depth = stack.pop()
        if depth > MAX_GROUP_DEPTH:
            raise UnsafeModelError(f"its groups of weights have {depth} levels")
        for name in group:
            here = f"{path}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UnsafeModelError(f"its weights have a link: {here!r}")
            child = group[name]
            address = h5py.h5o.get_info(child.id).addr
            if address in seen:
                raise UnsafeModelError(f"it has weights with two names: {here!r}")
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise UnsafeModelError(f"it has more than {MAX_OBJECTS} arrays")
            if isinstance(child, h5py.Group):
                stack.append((child, here, depth + 1))
            else:
                total += _check_array(child, here)
    return total


def _check_array(array, path):
    """Returns the size of an array after checking that the file itself holds it."""
    if not isinstance(array, h5py.Dataset):
        raise UnsafeModelError(f"its weights {path!r} are not an array")
    dtype = array.dtype
    if dtype.kind not in _KINDS and (dtype.kind, dtype.itemsize) != ("V", 2):
        raise UnsafeModelError(f"its weights {path!r} have type {dtype}")
    if array.external or array.is_virtual:
        raise UnsafeModelError(f"its weights {path!r} are in another file")
    if array.id.get_create_plist().get_nfilters():
        raise UnsafeModelError(f"its weights {path!r} have a filter")
    if array.shape is None:
        raise UnsafeModelError(f"its weights {path!r} have no shape")
    size = math.prod(array.shape)
    declared, stored = size * dtype.itemsize, array.id.get_storage_size()
    if declared != stored:
        raise UnsafeModelError(
            f"its weights {path!r} declare {declared} bytes but have {stored}"
        )
    return size
