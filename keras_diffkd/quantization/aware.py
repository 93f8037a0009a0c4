"""Defines the settings of quantization-aware training."""

import keras

from keras_diffkd.validation.arguments import check_choice, check_number


@keras.saving.register_keras_serializable(package="keras_diffkd")
class QuantizationAware:
    """Trains a student as the int8 runtimes TFLite and ONNX Runtime compute it.

    Pass it to `Distiller(..., quantization=QuantizationAware())`. The student should be
    trained already: a few epochs with a small learning rate follow.

    In training, the weights of convolutions and dense layers are rounded to int8 per
    output channel, and activations to 256 values of a range, where int8 runtimes
    round them. Gradients pass through the rounding, but not where a value lies outside
    its range. The variables of the student stay float. `evaluate`, `predict` and calls
    of the distiller give the outputs of the int8 student, with batch normalization
    folded into the weights. `Distiller.strip` returns the float student, and
    `Distiller.quantization_ranges` the ranges from which int8 files are made.

    Args:
        ranges: `"moving"`: moving averages of the minimum and maximum of each batch. Or
            `"learned"`: parameters of the training, which begin as the range of the
            first batch (LSQ).
        momentum: Float in [0, 1), the share of a moving range that stays in each step.
        freeze_after: Float in [0, 1], the share of the steps of `fit` after which
            moving ranges and the statistics of batch normalization stand still. The
            step is then built a second time. 1 freezes nothing. Learned ranges keep
            learning. `fit` must know the number of steps, or it freezes at the
            beginning of an epoch.
        skip: Names or paths of layers that stay float, with everything inside them.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    >>> image = keras.Input((8, 8, 1))
    >>> x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    >>> x = keras.layers.GlobalAveragePooling2D()(x)
    >>> student = keras.Model(image, keras.layers.Dense(10)(x))
    >>> distiller = Distiller(student=student, quantization=QuantizationAware())
    >>> distiller.compile(
    ...     "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = keras.ops.ones((16, 8, 8, 1)), keras.ops.zeros((16,), "int32")
    >>> history = distiller.fit(x, y, verbose=0)
    >>> distiller.quantization_ranges()
    QuantizationRanges of 4 tensors

    Sources: Jacob et al., Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference (CVPR 2018), arXiv:1712.05877. Esser et al.,
    Learned Step Size Quantization (ICLR 2020), arXiv:1902.08153.
    """

    def __init__(self, ranges="moving", momentum=0.99, freeze_after=0.5, skip=()):
        check_choice("ranges", ranges, ("moving", "learned"))
        check_number("momentum", momentum, least=0, below=1)
        check_number("freeze_after", freeze_after, least=0, most=1)
        if isinstance(skip, str) or not all(isinstance(name, str) for name in skip):
            raise ValueError(
                "`skip` must be a list of names or paths of layers. Received: "
                f"skip={skip!r}"
            )
        self.ranges = ranges
        self.momentum = momentum
        self.freeze_after = freeze_after
        self.skip = list(skip)

    def get_config(self):
        return {
            "ranges": self.ranges,
            "momentum": self.momentum,
            "freeze_after": self.freeze_after,
            "skip": self.skip,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)
