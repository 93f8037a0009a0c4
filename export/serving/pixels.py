"""Converts raw pixels for a student: `image = (pixel / 255 - mean) / std`."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_diffkd.keras_private.layers import all_layers

INPUTS = ("float32", "uint8")
# How far float32 and resizing may push a pixel beyond 0 and 255.
OVERSHOOT = 0.51


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The normalization of a data set, there and back.

    Attributes:
        mean: float64 array, one value or one per channel, of pixels scaled to 0..1.
        std: likewise.

    Example:

    ```python
    pixels = Preprocessing.of({"mean": [0.5], "std": [0.5]})
    pixels.normalize(np.array([0, 255]))  # [-1.0, 1.0]
    pixels.restore(np.array([-1.0, 1.0]))  # [0, 255]
    ```
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, normalization):
        """Reads the argument `normalization` of `export_student`.

        Raises:
            ValueError: if it does not say how pixels become the student's input.
        """
        advice = (
            "input='uint8' puts the normalization into the artifacts. Pass "
            "normalization={'mean': [...], 'std': [...]} of pixels scaled to 0..1, one "
            "value per channel, or export with input='float32'. "
            f"Received: normalization={normalization!r}"
        )
        if not isinstance(normalization, dict):
            raise ValueError(advice)
        if list(normalization.get("input_range", [0, 255])) != [0, 255]:
            raise ValueError(f"Expected `input_range` to be [0, 255]. {advice}")
        try:
            mean = np.atleast_1d(np.asarray(normalization["mean"], "float64"))
            std = np.atleast_1d(np.asarray(normalization["std"], "float64"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(advice) from error
        usable = np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()
        if mean.ndim != 1 or mean.shape != std.shape or not usable:
            raise ValueError(advice)
        return cls(mean, std)

    def check_image(self, tensors):
        """Raises unless the student takes one image with these channels.

        Args:
            tensors: list of `keras.KerasTensor`, the student's inputs.

        Raises:
            ValueError: saying what it takes.
        """
        shapes = [tuple(tensor.shape) for tensor in tensors]
        fits = len(shapes) == 1 and len(shapes[0]) == 4
        if not fits or len(self.mean) not in (1, shapes[0][-1]):
            raise ValueError(
                "input='uint8' is for students of one image (batch, height, width, "
                f"channels), with {len(self.mean)} channels as `normalization` has it. "
                f"Received: inputs of shape {shapes}. Export with input='float32'"
            )

    def __call__(self, pixels):
        """Returns the student's input for a tensor of pixels, in TensorFlow."""
        with tf.name_scope("preprocessing"):
            scale = (1 / (255 * self.std)).astype("float32")
            shift = (self.mean / self.std).astype("float32")
            return tf.cast(pixels, "float32") * scale - shift

    def normalize(self, pixels):
        """Returns the student's input for an array of pixels, in NumPy."""
        return ((pixels / 255.0 - self.mean) / self.std).astype("float32")

    def restore(self, images):
        """Returns the uint8 pixels that images were made from.

        Args:
            images: array of pixels, or of normalized images, which is known from
                its dtype: integers are pixels.

        Raises:
            ValueError: if these are not pixels between 0 and 255.
        """
        images = np.asarray(images)
        if not np.issubdtype(images.dtype, np.integer):
            images = (images.astype("float32") * self.std + self.mean) * 255.0
        low, high = (images.min(), images.max()) if images.size else (0, 0)
        if not (low >= -OVERSHOOT and high <= 255 + OVERSHOOT):
            raise ValueError(
                "These artifacts take pixels. Expected the samples to be uint8 images, "
                "or float images normalized as `normalization` says, which are pixels "
                f"between 0 and 255. Received: pixels between {low:.4g} and {high:.4g}"
                "; pass raw pixels with an integer dtype"
            )
        return np.clip(np.rint(images), 0, 255).astype("uint8")


def check_input(input):
    """Raises `ValueError` unless this is a dtype that artifacts can take.

    Example:

    ```python
    check_input("uint8")
    ```
    """
    if not isinstance(input, str) or input not in INPUTS:
        raise ValueError(
            "Expected `input` to be 'float32' (what the student takes) or 'uint8' (raw "
            f"pixels). Received: input={input!r}"
        )


def describe_input(serving):
    """Returns dtype, range, layout and who normalizes, for the manifest.

    Args:
        serving: `Serving`.

    Example:

    ```python
    describe_input(serving)["dtype"]  # "uint8"
    ```
    """
    takes_pixels = serving.preprocessing is not None
    dtypes = {spec.dtype.name for spec in serving.inputs}
    return {
        # If inputs have several dtypes, the manifest's `inputs` has each.
        "dtype": dtypes.pop() if len(dtypes) == 1 else None,
        "range": [0, 255] if takes_pixels else None,
        "layout": _layout(serving),
        "normalized_by": "artifact" if takes_pixels else "caller",
    }


def _layout(serving):
    """Returns the order of the axes of images; None of anything else."""
    tensors = keras.tree.flatten(serving.structure)
    if not all(len(tensor.shape) == 4 for tensor in tensors):
        return None
    orders = {
        getattr(layer, "data_format", None) for layer in all_layers(serving.student)
    }
    return "NCHW" if "channels_first" in orders else "NHWC"
