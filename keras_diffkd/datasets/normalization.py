"""Normalizes images with the mean and standard deviation of a data set."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Computes `(pixel / 255 - mean) / std` per channel.

    Attributes:
        mean: Tuple of floats, the mean of pixels scaled to 0..1.
        std: Tuple of floats, the standard deviation of pixels scaled to 0..1.

    Example:

    >>> import numpy as np
    >>> from keras_diffkd.datasets.known import Conventions
    >>> Normalization.of(Conventions(), channels=1)(np.array([[[0.0], [255.0]]]))
    array([[[-1.],
            [ 1.]]])
    """

    mean: tuple
    std: tuple

    @classmethod
    def of(cls, known, channels):
        """Returns the normalization of the conventions, by default with 0.5 and 0.5."""
        return cls(known.mean or (0.5,) * channels, known.std or (0.5,) * channels)

    def __call__(self, image):
        return (image / 255.0 - self.mean) / self.std

    def as_dict(self):
        """Returns a dict to save with a trained model."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "input_range": [0, 255],
        }
