"""Adds stored outputs of a teacher to the batches that they belong to."""

import numpy as np
import tensorflow as tf


def add_stored_outputs(numbered, read, shapes, image_name):
    """Returns a dataset of `(inputs, labels)` with the stored outputs in the inputs.

    Args:
        numbered: `tf.data.Dataset` of `(number, image, label)` batches.
        read: Callable from a NumPy array of numbers to an iterable of float32 arrays,
            in the order of `shapes`.
        shapes: Dict from the name of each output to its shape, without the batch axis.
        image_name: String, the name of the images in the inputs.

    Example:

    >>> numbered = tf.data.Dataset.from_tensors(([3], [[0.5]], [1]))
    >>> read = lambda numbers: [np.ones((len(numbers), 2), "float32")]
    >>> batches = add_stored_outputs(numbered, read, {"stored": (2,)}, "image")
    >>> inputs, labels = next(iter(batches))
    >>> inputs["stored"].shape
    TensorShape([1, 2])
    """

    def read_list(numbers):
        return [np.asarray(output, "float32") for output in read(numbers)]

    def add(numbers, images, labels):
        stored = tf.numpy_function(read_list, [numbers], [tf.float32] * len(shapes))
        inputs = {image_name: images}
        for (name, shape), output in zip(shapes.items(), stored, strict=True):
            inputs[name] = tf.ensure_shape(output, (numbers.shape[0], *shape))
        return inputs, labels

    # A whole batch is read at once: its records are read in one go.
    return numbered.map(add).prefetch(tf.data.AUTOTUNE)
