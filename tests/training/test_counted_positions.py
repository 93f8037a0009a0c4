"""Methods on class scores learn nothing from ignored labels and from padding."""

import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import DIST, DKD, TTM, DiffKD, Distiller, LogitsKD, losses
from keras_diffkd.methods.logits_method import LogitsMethod

layers = keras.layers
SAMPLES, CLASSES, IGNORED = 4, 8, 255
METHODS = {
    "kd": LogitsKD,
    "dist": DIST,
    "dkd": DKD,
    "ttm": TTM,
    "lskd": lambda: LogitsKD(standardize_logits=True, name="lskd"),
    "diffkd": lambda: DiffKD(distance="dkd", num_inference_steps=2, seed=0),
}

OF_LOGITS = ("kd", "dist", "dkd", "ttm", "lskd")


class OwnLogits(layers.Layer):
    """Adds to the logits of every position of the batch a weight of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, shape):
        self.logits = self.add_weight(shape=(SAMPLES, *shape[1:]), name="logits")

    def call(self, x):
        rest = tuple(range(1, len(x.shape)))
        one = keras.ops.ones_like(keras.ops.max(x, axis=rest))
        sample = keras.ops.cast(keras.ops.cumsum(one) - 1, "int32")
        return x + keras.ops.take(self.logits, sample, axis=0)


def segmenter(softmax=False):
    image = keras.Input((4, 4, 2))
    x = layers.Conv2D(CLASSES, 1, trainable=False)(image)
    x = OwnLogits(name="logits")(x)
    return keras.Model(image, layers.Activation("softmax")(x) if softmax else x)


def tagger(softmax=False):
    tokens = keras.Input((9,), dtype="int32")
    x = layers.Embedding(20, 4, mask_zero=True, trainable=False)(tokens)
    x = OwnLogits(name="logits")(layers.Dense(CLASSES, trainable=False)(x))
    return keras.Model(tokens, layers.Activation("softmax")(x) if softmax else x)


def classifier():
    vector = keras.Input((2,))
    return keras.Model(vector, OwnLogits(name="logits")(layers.Dense(CLASSES)(vector)))


def compiled(student, teacher, methods, softmax=False, jit_compile=False, **loss):
    # All that moves the student's logits are the methods.
    distiller = Distiller(teacher, student, methods, task_loss_weight=0.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax, **loss)
    distiller.compile(
        keras.optimizers.SGD(10.0),
        loss,
        jit_compile=jit_compile,
        preflight=False,
    )
    return distiller


def moved(distiller, x, y):
    """Returns by how much a step moves the logits of every position."""
    weight = distiller.student.get_layer("logits").logits
    before = np.array(weight)
    logs = distiller.fit(x, y, batch_size=SAMPLES, shuffle=False, verbose=0).history
    assert np.isfinite(list(logs.values())).all()
    return np.abs(np.array(weight) - before).max(axis=-1)


@pytest.fixture
def pixels(rng):
    x = rng.normal(size=(SAMPLES, 4, 4, 2)).astype("float32")
    y = rng.integers(0, CLASSES, (SAMPLES, 4, 4))
    return x, np.where(rng.random(y.shape) < 0.4, IGNORED, y)


@pytest.fixture
def sentences(rng):
    x = rng.integers(1, 20, (SAMPLES, 9))
    x[np.arange(9) >= np.array([9, 5, 3, 7])[:, None]] = 0
    return x, x % CLASSES


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [
        *((name, jit) for name in OF_LOGITS for jit in (False, True)),
        ("diffkd", False),  # Compiling a whole one takes long.
    ],
)
def test_ignored_pixels_move_nothing(pixels, name, jit_compile):
    x, y = pixels
    distiller = compiled(
        segmenter(),
        segmenter(),
        [METHODS[name]()],
        jit_compile=jit_compile,
        ignore_class=IGNORED,
    )
    change = moved(distiller, x, y[..., None] if name == "kd" else y)
    np.testing.assert_array_equal(change[y == IGNORED], 0.0)
    assert (change[y != IGNORED] > 0).mean() > 0.8


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("name", OF_LOGITS)
def test_padding_moves_nothing(sentences, name, jit_compile):
    x, y = sentences
    distiller = compiled(tagger(), tagger(), [METHODS[name]()], jit_compile=jit_compile)
    change = moved(distiller, x, y)
    np.testing.assert_array_equal(change[x == 0], 0.0)
    assert (change[x > 0] > 0).mean() > 0.8


# Keras on PyTorch has no gradient of its cross-entropy on a map of probabilities.
NOT_ON_TORCH = pytest.mark.backend("tensorflow", "jax")


@pytest.mark.parametrize("make", [pytest.param(segmenter, marks=NOT_ON_TORCH), tagger])
def test_logits_before_a_softmax_have_the_positions_of_the_output(
    pixels, sentences, make
):
    x, y = pixels if make is segmenter else sentences
    ignored = y == IGNORED if make is segmenter else x == 0
    method = LogitsKD("logits", "logits")
    distiller = compiled(
        make(softmax=True), make(softmax=True), [method], True, ignore_class=IGNORED
    )
    change = moved(distiller, x, y)
    np.testing.assert_array_equal(change[ignored], 0.0)
    assert (change[~ignored] > 0).all()


@pytest.mark.parametrize("name", OF_LOGITS)
def test_the_losses_are_those_of_the_positions_that_count(sentences, name):
    # A label that is ignored and padding, both.
    x, y = sentences
    y[0, 2:5] = -1
    teacher, student = tagger(), tagger()
    distiller = compiled(student, teacher, [METHODS[name]()], ignore_class=-1)
    actual, _ = distiller.compute_training_losses(x, y)
    counts = (x > 0) & (y != -1)
    pair = [np.array(model(x))[counts] for model in (teacher, student)]
    expected = {
        "kd": lambda: losses.kl_divergence(*pair, 4.0),
        "dist": lambda: losses.dist(*pair),
        "dkd": lambda: losses.dkd(*pair, y[counts]),
        "ttm": lambda: losses.ttm(*pair, 4.0),
        "lskd": lambda: losses.kl_divergence(*pair, 4.0, standardize_logits=True),
    }[name]()
    np.testing.assert_allclose(actual[f"{name}/distill"], expected, rtol=1e-5)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_a_batch_in_which_nothing_counts_costs_nothing(pixels, name):
    x, y = pixels
    distiller = compiled(
        segmenter(), segmenter(), [METHODS[name]()], ignore_class=IGNORED
    )
    assert not moved(distiller, x, np.full_like(y, IGNORED)).any()
    loss = distiller.history.history[f"{distiller.methods[0].name}/distill"]
    assert loss == [0.0]


def test_samples_without_a_label_teach_what_needs_no_label(rng):
    x = rng.normal(size=(SAMPLES, 2)).astype("float32")
    y = np.array([0, -1, 2, -1])
    for method, learns in ((LogitsKD(), True), (DKD(), False)):
        distiller = compiled(classifier(), classifier(), [method], ignore_class=-1)
        change = moved(distiller, x, y)
        np.testing.assert_array_equal(change[y == -1] > 0, learns)
        assert (change[y != -1] > 0).all()


def test_outputs_have_labels_of_their_own(pixels):
    x, y = pixels
    image = keras.Input((4, 4, 2))

    def two_headed():
        heads = {
            name: OwnLogits(name=name)(
                layers.Conv2D(CLASSES, 1, trainable=False)(image)
            )
            for name in ("kind", "state")
        }
        return keras.Model(image, heads)

    cross_entropy = keras.losses.SparseCategoricalCrossentropy
    distiller = Distiller(
        two_headed(),
        two_headed(),
        [LogitsKD(":kind", ":kind"), LogitsKD(":state", ":state", name="state")],
        task_loss_weight=0.0,
    )
    distiller.compile(
        keras.optimizers.SGD(10.0),
        {
            "kind": cross_entropy(from_logits=True, ignore_class=IGNORED),
            "state": cross_entropy(from_logits=True, ignore_class=1),
        },
        preflight=False,
    )
    labels = {"kind": y, "state": y % CLASSES}
    variables = [distiller.student.get_layer(name).logits for name in labels]
    before = [np.array(variable) for variable in variables]
    distiller.fit(x, labels, batch_size=SAMPLES, shuffle=False, verbose=0)
    for variable, old, ignored in zip(
        variables, before, (y == IGNORED, labels["state"] == 1), strict=True
    ):
        change = np.abs(np.array(variable) - old).max(axis=-1)
        np.testing.assert_array_equal(change > 0, ~ignored)


def test_methods_that_take_no_mask_are_called_as_ever(pixels):
    seen = []

    class Old(LogitsMethod):
        def compute_losses(
            self, teacher_features, student_features, targets=None, training=True
        ):
            loss = losses.kl_divergence(teacher_features, student_features)
            return {"distill": loss}

    class PassesOn(LogitsKD):
        def compute_losses(self, *features, **kwargs):
            seen.append(kwargs["mask"].shape)
            return super().compute_losses(*features, **kwargs)

    x, y = pixels
    for method in (Old(temperature=1.0, name="old"), PassesOn()):
        distiller = compiled(segmenter(), segmenter(), [method], ignore_class=IGNORED)
        change = moved(distiller, x, y)
        np.testing.assert_array_equal((change > 0).all(), method.name == "old")
    assert tuple(seen[0])[1:] == (4, 4)


@pytest.mark.parametrize(
    ("grids", "arguments"),
    [
        (((16,), (16,)), {"feature_kind": "tokens"}),
        (((8,), (6,)), {"feature_kind": "sequence", "resize": "bilinear"}),
        (((8, 8), (4, 4)), {"resize": "bilinear"}),
        (((2, 3, 4), (2, 3, 4)), {}),
        (((), ()), {}),
    ],
)
@pytest.mark.parametrize("distance", ["kl", "dist", "dkd"])
def test_diffkd_of_every_kind_of_feature_spares_what_does_not_count(
    rng, grids, arguments, distance
):
    teacher, student = (
        rng.normal(size=(SAMPLES, *grid, CLASSES)).astype("float32") for grid in grids
    )
    mask = rng.random(student.shape[:-1]) < 0.5
    mask[0] = True
    labels = rng.integers(0, CLASSES, teacher.shape[:-1])
    method = DiffKD(distance=distance, num_inference_steps=2, seed=0, **arguments)
    method.build((None, *teacher.shape[1:]), (None, *student.shape[1:]))

    def loss(student):
        return method.compute_losses(
            keras.ops.convert_to_tensor(teacher),
            student,
            labels,
            mask=keras.ops.convert_to_tensor(mask),
        )["distill"]

    _, (slopes,), _ = value_and_gradients(loss, [student], method)
    moves = np.abs(slopes).max(axis=-1) > 0
    assert not moves[~mask].any()
    assert moves[mask].mean() > 0.8
