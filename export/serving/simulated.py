"""The student as int8 files of learned ranges compute it."""

import copy

import tensorflow as tf

from keras_diffkd.quantization.ranges import step_of
from keras_diffkd.quantization.simulated_student import SimulatedStudent

from .detection import decoded, describe_detection
from .pixels import Preprocessing

# Operations whose results have the values of their inputs.
_MOVING = {
    "ConcatV2",
    "ExpandDims",
    "Identity",
    "Reshape",
    "Squeeze",
    "StridedSlice",
    "Transpose",
}
_ROUNDING = "FakeQuantWithMinMaxVars"


def simulated(serving, ranges):
    """Returns a `Serving` of the student with rounded weights and activations.

    Its graph has a fake quantization wherever an int8 file has a scale. What comes
    after the outputs of a detector stays as it is.

    Args:
        serving: `Serving` of the student.
        ranges: `keras_diffkd.quantization.QuantizationRanges` of the student.

    Raises:
        ValueError: if the ranges are of another student.

    Example:

    ```python
    simulated(Serving(student), ranges)(images)["logits"]
    ```
    """
    student = SimulatedStudent(serving.network, ranges)
    student.hold_weights()
    if serving.student is not serving.network:
        nms = describe_detection(serving.student)["nms"]
        student = decoded(serving.network, nms, computed_by=student)
    return serving.computing(student)


def with_integer_pixels(serving):
    """Returns a `Serving` with `IntegerPreprocessing`, or itself if it takes no pixels.

    Args:
        serving: `Serving`.

    Example:

    ```python
    with_integer_pixels(serving)
    ```
    """
    if serving.preprocessing is None:
        return serving
    other, given = copy.copy(serving), serving.preprocessing
    other.preprocessing = IntegerPreprocessing(given.mean, given.std)
    return other


class IntegerPreprocessing(Preprocessing):
    """The same, of pixels as floats, in operations that int8 files compute exactly.

    A convolution of 1x1 has a scale for each channel and a bias of 32 bits; a product
    would have one scale for the factors of all channels.

    Example:

    ```python
    IntegerPreprocessing.of({"mean": [0.5], "std": [0.5]})(pixels)
    ```
    """

    def __call__(self, pixels):
        with tf.name_scope("preprocessing"):
            channels = pixels.shape[-1]
            scale = tf.ones(channels) * (1 / (255 * self.std)).astype("float32")
            shift = tf.ones(channels) * (self.mean / self.std).astype("float32")
            pixels = tf.quantization.fake_quant_with_min_max_args(pixels, 0.0, 255.0)
            kernel = tf.reshape(scale, (1, 1, channels, 1))
            ones = [1, 1, 1, 1]
            return tf.nn.depthwise_conv2d(pixels, kernel, ones, "VALID") - shift


def output_steps(serving):
    """Returns the difference of neighboring int8 values, of outputs that have one.

    Args:
        serving: `Serving` from `simulated`.

    Returns:
        dict of float by output name. Outputs that stay float are not in it.

    Example:

    ```python
    output_steps(simulated(Serving(student), ranges))  # {"logits": 0.1}
    ```
    """
    pairs = zip(serving.outputs, serving.trace.outputs, strict=True)
    steps = {spec.name: _step(tensor) for spec, tensor in pairs}
    return {name: step for name, step in steps.items() if step is not None}


def _step(tensor):
    operation = tensor.op
    while operation.type in _MOVING:
        operation = operation.inputs[0].op
    if operation.type != _ROUNDING:
        return None
    return step_of(*(float(tf.get_static_value(x)) for x in operation.inputs[1:]))
