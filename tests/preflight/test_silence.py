"""What is legitimate: no error, no warning, and what plain Keras makes of it."""

import keras
import numpy as np
import pytest

from keras_diffkd import DIST, DiffKD, Distiller, FitNet, LogitsKD

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")


def mlp(width, outputs=1, activation=None):
    vector = keras.Input((6,))
    x = keras.layers.Dense(width, activation="relu", name="features")(vector)
    x = keras.layers.Dense(outputs, activation=activation, name="logits")(x)
    return keras.Model(vector, x)


@pytest.mark.parametrize(
    ("loss", "activation", "shape"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), None, (64,)),
        (keras.losses.BinaryCrossentropy(), "sigmoid", (64, 1)),
        (keras.losses.BinaryFocalCrossentropy(from_logits=True), None, (64, 1)),
        (keras.losses.Hinge(), None, (64,)),
        ("mse", None, (64,)),
    ],
)
def test_class_weights_of_one_output_are_those_of_keras(loss, activation, shape):
    y = (X[:, 0] > 1).astype("int32").reshape(shape)
    weights = {0: 1.0, 1: 5.0}
    student = mlp(4, activation=activation)
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), loss)
    expected = plain.fit(X, y, class_weight=weights, shuffle=False, verbose=0)
    made = Distiller(mlp(8), student, [FitNet("features", "features", weight=0.0)])
    made.compile(keras.optimizers.SGD(0.1), loss)
    logs = made.fit(X, y, class_weight=weights, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        logs.history["task_loss"], expected.history["loss"], rtol=1e-5
    )
    for ours, theirs in zip(student.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def image_model(first=(), subclassed=False):
    layers = [
        *(make() for make in first),
        keras.layers.Conv2D(4, 3, name="conv"),
        keras.layers.ReLU(name="features"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]
    if not subclassed:
        return keras.Sequential([keras.Input((8, 8, 1)), *layers])

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.body = keras.Sequential(layers, name="body")

        def call(self, x):
            return self.body(keras.ops.cast(x, "float32") / 255.0)

    model = Subclassed()
    model.build((None, 8, 8, 1))
    return model


def warnings_of(x, y, student, loss=None, teacher=None, method=None, **fit):
    teacher = teacher or keras.models.clone_model(student)
    made = Distiller(teacher, student, [method or FitNet("features", "features")])
    rate = fit.pop("learning_rate", 0.1)
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.SGD(rate), loss)
    return made.preflight(x, y, **fit).warnings


def said(found, text):
    return [warning for warning in found if text in warning]


PIXELS = RNG.integers(0, 256, (64, 8, 8, 1)).astype("uint8")
LABELS = RNG.permutation(np.arange(64) % 3)
AUGMENTATION = [
    keras.layers.RandomFlip,
    lambda: keras.layers.RandomRotation(0.1),
    lambda: keras.layers.RandomZoom(0.1),
    lambda: keras.layers.RandomContrast(0.1),
    lambda: keras.layers.RandomTranslation(0.1, 0.1),
    lambda: keras.layers.Rescaling(1 / 255),
]


@pytest.mark.parametrize(
    ("x", "first", "subclassed"),
    [
        (PIXELS, [lambda: keras.layers.Rescaling(1 / 255)], False),
        (PIXELS, [keras.layers.BatchNormalization], False),
        (PIXELS, [lambda: keras.layers.Lambda(lambda x: x / 255)], False),
        (PIXELS, [], True),
        # As `keras.applications.vgg16.preprocess_input` makes them.
        (PIXELS - 110.0, [], False),
        (-80 * RNG.uniform(size=(64, 8, 8, 1)), [], False),
        (PIXELS, AUGMENTATION, False),
    ],
    ids=["rescaling", "norm", "lambda", "subclassed", "caffe", "dB", "augmentation"],
)
def test_images_that_are_scaled_somewhere(x, first, subclassed):
    student, teacher = (image_model(first, subclassed) for _ in range(2))
    tap = "body/features" if subclassed else "features"
    found = warnings_of(x, LABELS, student, teacher=teacher, method=FitNet(tap, tap))
    assert not said(found, "Images")
    assert not said(found, "rescales")


def test_images_that_are_not_scaled_are_named():
    assert said(warnings_of(PIXELS, LABELS, image_model()), "no Rescaling")


def test_a_teacher_that_normalizes_what_it_was_adapted_to():
    normalization = keras.layers.Normalization(mean=0.5, variance=0.1)
    teacher = image_model([lambda: normalization])
    found = warnings_of(PIXELS / 255.0, LABELS, image_model(), teacher=teacher)
    assert not said(found, "rescales")


def decided(y, decisions):
    """Returns the warnings about a teacher of these decisions."""

    def scores():
        return keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(3, name="features")]
        )

    teacher = scores()
    teacher.set_weights([9 * np.eye(3), np.zeros(3)])
    x = np.eye(3, dtype="float32")[decisions]
    return said(warnings_of(x, y, scores(), teacher=teacher), "no better than chance")


def test_a_teacher_is_judged_by_what_it_knows():
    rare = np.array([0] * 58 + [1] * 6)
    x = np.zeros(64, int)
    x[0] = 1  # Wrong once; too few are of the rare class to tell.
    assert not decided(rare, x)
    imbalanced = np.tile([0] * 17 + [1] * 3, 5)
    known = imbalanced.copy()
    known[:10] = 1  # False alarms.
    assert not decided(imbalanced, known)
    assert decided(imbalanced, np.roll(imbalanced, 5))
    assert decided(LABELS, (LABELS + 1) % 3)


def test_labels_that_chance_gives():
    x = RNG.normal(size=(200, 6)).astype("float32")
    rare = np.zeros(200, int)
    rare[-1] = 1
    student, order = mlp(4, 3), {"shuffle": False, "batch_size": 8}
    assert not said(warnings_of(x, rare, student, **order), "are all 0")
    halves = np.arange(200) // 100
    assert said(warnings_of(x, halves, student, **order), "are all 0")
    labels = np.arange(200) % 2
    labels[-1] = 2
    found = warnings_of(x, labels, student, validation_split=0.2)
    assert not said(found, "validation_split")
    found = warnings_of(x, np.arange(200) // 70, student, validation_split=0.3)
    assert said(found, "validation_split")


def test_an_input_that_is_a_mask():
    inputs = {"vector": keras.Input((6,)), "mask": keras.Input((6,), dtype="int32")}
    mask = keras.ops.cast(inputs["mask"], "float32")
    x = keras.layers.Multiply()([inputs["vector"], mask])
    x = keras.layers.Dense(4, name="features")(x)
    student = keras.Model(inputs, keras.layers.Dense(3)(x))
    ones = np.ones((64, 6), "int32")
    for vector, count in ((X, 0), (0 * X, 2)):
        found = warnings_of({"vector": vector, "mask": ones}, LABELS, student)
        assert len(said(found, "everywhere")) == count


class WarmUp(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.model.optimizer.learning_rate.assign(0.1)


@pytest.mark.parametrize(
    ("callbacks", "warned"),
    [([], True), ([keras.callbacks.EarlyStopping()], True), ([WarmUp()], False)],
)
def test_a_learning_rate_that_a_callback_sets(callbacks, warned):
    student = mlp(4, 3)
    found = warnings_of(X, LABELS, student, learning_rate=0.0, callbacks=callbacks)
    assert bool(said(found, "learning rate is 0")) == warned


def test_rows_of_zeros_do_not_count_and_sigmoids_are_scores():
    one_hot = np.eye(3, dtype="float32")[LABELS]
    one_hot[:5] = 0.0
    loss = keras.losses.CategoricalCrossentropy()
    found = warnings_of(X, one_hot, mlp(4, 3, activation="sigmoid"), loss)
    assert not said(found, "sum to 1")


def test_a_tap_in_a_frozen_part_is_named():
    student, nothing = mlp(4, 3), "teaches the student nothing"
    assert not said(warnings_of(X, LABELS, student), nothing)
    student.get_layer("features").trainable = False
    assert said(warnings_of(X, LABELS, student, teacher=mlp(8, 3)), nothing)
    found = warnings_of(X, LABELS, student, teacher=mlp(8, 3), method=LogitsKD())
    assert not said(found, nothing)


@pytest.mark.parametrize("method", [LogitsKD, DIST, lambda: DiffKD(distance="kl")])
def test_a_softmax_over_several_labels_is_named(method):
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    several = RNG.integers(0, 2, (64, 3)).astype("float32")
    one = np.eye(3, dtype="float32")[LABELS]
    for y, chosen, count in (
        (several, method(), 1),
        (one, method(), 0),
        (several, DiffKD(distance="mse"), 0),
    ):
        found = warnings_of(X, y, mlp(4, 3), loss, method=chosen)
        assert len(said(found, "several classes per sample")) == count
