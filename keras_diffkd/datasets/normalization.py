"""Mean and standard deviation of the pixels of a data set."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Normalization:
    """`image = (pixel / 255 - mean) / std`, per channel.

    Attributes:
        mean: Tuple of floats, of pixels scaled to 0..1.
        std: Likewise.

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
        """Returns that of the conventions; mean and deviation default to 0.5."""
        return cls(known.mean or (0.5,) * channels, known.std or (0.5,) * channels)

    def __call__(self, image):
        return (image / 255.0 - self.mean) / self.std

    def as_dict(self):
        """Returns it as it is written beside a trained model."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "input_range": [0, 255],
        }
