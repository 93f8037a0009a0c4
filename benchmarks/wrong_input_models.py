"""Models and data for which everything is right, to be spoiled one thing at a time."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from keras_diffkd import Distiller, LogitsKD

CLASSES = 10
SIZE = 64


@dataclasses.dataclass(frozen=True)
class Case:
    """One wrong input.

    Attributes:
        given: String, what is wrong, for the table.
        says: Regular expression: what our message has to say.
        ours: Callable that hands it to keras-diffkd, without training.
        stock: Callable that hands it to `keras.distillation.Distiller` and trains;
            `None` if there is nothing like it.
    """

    given: str
    says: str
    ours: Callable
    stock: Callable | None


def images_and_labels():
    """Returns 64 images of 8x8, as bright as their label, and the labels."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(SIZE) % CLASSES)
    noise = rng.uniform(-0.01, 0.01, (SIZE, 8, 8, 1))
    return (labels[:, None, None, None] / 10 + 0.02 + noise).astype("float32"), labels


def teacher(order=None, scale=1.0, **changes):
    """Returns a teacher that is right by construction, without training.

    Args:
        order: What its classes are; by default 0 to 9.
        scale: Float, of the images that it knows.
        **changes: Passed to `network`.
    """
    model = network(4, **changes)
    order = np.arange(CLASSES) if order is None else np.asarray(order)
    kernel = np.zeros((3, 3, 1, 4), "float32")
    kernel[1, 1, 0, 0] = 1.0
    model.get_layer("conv").set_weights([kernel, np.zeros(4, "float32")])
    # Of all brightnesses, the closest to that of the image: -(x - level)**2.
    levels = (order / 10 + 0.02).astype("float32") * scale
    weights = np.zeros((4, CLASSES), "float32")
    weights[0] = 2 * levels
    bias = -(levels**2)
    head = model.get_layer("logits")
    if head.kernel.shape == weights.shape:
        head.set_weights([5e3 / scale**2 * weights, 5e3 / scale**2 * bias])
    return model


def student(**changes):
    """Returns a small student with batch normalization."""
    return network(3, normalize=True, **changes)


def network(
    width,
    classes=CLASSES,
    size=8,
    channels=1,
    activation=None,
    rescale=None,
    normalize=False,
    name=None,
):
    """Returns a classifier with the layers `conv`, `features` and `logits`."""
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, channels), name="image")
    x = image
    if rescale is not None:
        x = keras.layers.Rescaling(rescale)(x)
    x = keras.layers.Conv2D(width, 3, padding="same", name="conv")(x)
    if normalize:
        x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(classes, activation=activation, name="logits")(x)
    return keras.Model(image, x, name=name or ("student" if normalize else "teacher"))


def sparse(from_logits=True):
    """Returns the loss that fits integer labels and logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def distiller(
    of_teacher=None,
    of_student=None,
    methods=None,
    loss=None,
    learning_rate=0.05,
    **arguments,
):
    """Returns a compiled `keras_diffkd.Distiller`; by default all of it is right."""
    made = Distiller(
        teacher() if of_teacher is None else of_teacher,
        student() if of_student is None else of_student,
        [LogitsKD()] if methods is None else methods,
        **arguments,
    )
    made.compile(keras.optimizers.SGD(learning_rate), loss or sparse())
    return made


def stock_distiller(
    of_teacher=None, of_student=None, loss=None, learning_rate=0.05, **arguments
):
    """Returns a compiled `keras.distillation.Distiller` of the same."""
    made = keras.distillation.Distiller(
        teacher=teacher() if of_teacher is None else of_teacher,
        student=student() if of_student is None else of_student,
        distillation_losses=keras.distillation.LogitsDistillation(
            temperature=arguments.pop("temperature", 4.0),
            loss=keras.losses.KLDivergence(),
        ),
        **arguments,
    )
    made.compile(optimizer=keras.optimizers.SGD(learning_rate), loss=loss or sparse())
    return made
