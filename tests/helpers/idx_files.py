"""Files in the format of MNIST."""

import struct


def idx_bytes(array):
    """Returns an array of uint8 as the content of an IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype("uint8").tobytes()


def write_idx(path, array):
    """Writes an array of uint8 as an IDX file."""
    path.write_bytes(idx_bytes(array))
