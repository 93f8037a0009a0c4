"""Students and settings that cannot be trained in int8, and ranges that do not fit."""

import keras
from wrong_input_models import Case, distiller, network, student

from keras_diffkd import KDiffusion, QuantizationAware
from keras_diffkd.quantization import QuantizationRanges, SimulatedStudent


def quantized():
    """Returns a student that Keras has quantized."""
    model = network(3)
    model.quantize("int8")
    return model


def of_float16():
    """Returns a student of mixed_float16."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return student()
    finally:
        keras.config.set_dtype_policy("float32")


def without_kernels():
    """Returns a student without a convolution or dense layer."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.UpSampling2D(5)(image)
    return keras.Model(image, keras.layers.Reshape((1600,))(x), name="student")


def dense():
    """Returns a student with one layer."""
    image = keras.Input((4,), name="image")
    logits = keras.layers.Dense(10, name="logits")(image)
    return keras.Model(image, logits, name="student")


def case(given, says, make=student, methods=None, **settings):
    """Returns a `Case` of a student and the arguments of `QuantizationAware`."""

    def ours():
        quantization = QuantizationAware(**settings)
        return distiller(None, make(), methods, quantization=quantization)

    return Case(given, says, ours, None)


def of_student(given, says, ours):
    """Returns a `Case` that we have and stock Keras does not."""
    return Case(given, says, ours, None)


QUANTIZATION = [
    case("`ranges='fixed'`", "`ranges` must be one of", ranges="fixed"),
    case("`momentum=1` of moving ranges", "`momentum` must be", momentum=1),
    case("`freeze_after=2`", "`freeze_after` must be", freeze_after=2),
    case("`skip='logits'`, not a list", "`skip` must be a list", skip="logits"),
    case("`skip=['logit']`", "Closest existing names: .*logits", skip=["logit"]),
    case("a student that is quantized already", "quantized already", quantized),
    case("a student of mixed_float16", "float16 overflows", of_float16),
    case(
        "a student without convolutions and dense layers",
        "Nothing of the student 'student' can be quantized",
        without_kernels,
        methods=[],
    ),
    case(
        "KDiffusion with `quantization`",
        "cannot be combined with a method that changes",
        methods=[KDiffusion("features", "conv", num_branches=2)],
    ),
    of_student(
        "`quantization='int8'`",
        "must be None or a keras_diffkd.QuantizationAware",
        lambda: distiller(quantization="int8"),
    ),
    of_student(
        "ranges before training",
        "unknown before training",
        lambda: distiller(quantization=QuantizationAware()).quantization_ranges(),
    ),
    of_student(
        "ranges of a distiller without `quantization`",
        "Only a Distiller with `quantization` has ranges",
        lambda: distiller().quantization_ranges(),
    ),
    of_student(
        "ranges of another student",
        "belong to another student than 'student'. Missing: .*Not known here: 'stem'",
        lambda: SimulatedStudent(dense(), QuantizationRanges({"stem": (0.0, 1.0)})),
    ),
    of_student(
        "a range that does not contain 0",
        "The quantization range of 'conv' must be two finite numbers",
        lambda: QuantizationRanges({"conv": (1.0, 2.0)}),
    ),
]
