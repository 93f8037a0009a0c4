"""Files in the format of MNIST."""

import struct

import numpy as np


def idx_bytes(array):
    """Returns an array of uint8 as the content of an IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype("uint8").tobytes()


def write_idx_folder(folder, train, test, classes=10):
    """Writes the four files of a data set, with the classes in turn as labels.

    Args:
        folder: An existing folder, as a `Path`.
        train: Images, an array of values from 0 to 255.
        test: The same.
        classes: Integer.
    """
    for name, images in (("train", train), ("t10k", test)):
        labels = np.arange(len(images)) % classes
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{name}-{kind}-ubyte").write_bytes(idx_bytes(array))
