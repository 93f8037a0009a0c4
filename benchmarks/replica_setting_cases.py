"""The settings that `replica_settings.py` trains on one and on two replicas."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from keras_diffkd import DIST, FitNet, LogitsKD

# The last batch gives two samples to one replica and one to the other.
SAMPLES, BATCH_SIZE, CLASSES, STEPS = 47, 22, 3, 5
SGD = keras.optimizers.SGD
Scaled = keras.optimizers.LossScaleOptimizer

# What ends otherwise on two replicas, and why.
OWN_MEAN = (
    "each replica divides by its own count of positions or sum of weights; "
    "the replicas weigh by their samples"
)
OWN_POSITIONS = "the loss of `LogitsKD` is a mean over the positions of each replica"
OWN_BATCH = "the loss compares the samples of a batch, each replica those of its share"
OWN_STATISTICS = "each replica normalizes by the statistics of its share"
OWN_DRAWS = "each replica draws its own noise"


def momentum():
    """Returns the optimizer of settings that are about something else."""
    return SGD(0.05, momentum=0.9)


def cross_entropy(**kwargs):
    """Returns the loss of class numbers and logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


def methods():
    """Returns methods that draw nothing at random."""
    return [FitNet("features", "features"), LogitsKD()]


def mlp(width, *layers):
    """Returns an MLP with a layer `features`; `layers` come before its outputs."""
    vector = keras.Input((6,))
    x = keras.layers.Dense(width, activation="tanh", name="features")(vector)
    for layer in layers:
        x = layer(x)
    return keras.Model(vector, keras.layers.Dense(CLASSES)(x))


def tagger(width):
    """Returns a network that classifies the words of sentences, without padding."""
    words = keras.Input((STEPS,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(words)
    x = keras.layers.Dense(width, activation="tanh", name="features")(x)
    return keras.Model(words, keras.layers.Dense(CLASSES)(x))


def segmenter(width):
    """Returns a network with one prediction for every position."""
    positions = keras.Input((STEPS, 6))
    x = keras.layers.Dense(width, activation="tanh", name="features")(positions)
    return keras.Model(positions, keras.layers.Dense(CLASSES)(x))


def two_headed(width):
    """Returns a network with two outputs."""
    vector = keras.Input((6,))
    x = keras.layers.Dense(width, activation="tanh", name="features")(vector)
    heads = {"kind": keras.layers.Dense(CLASSES, name="kind")(x)}
    heads["size"] = keras.layers.Dense(1, name="size")(x)
    return keras.Model(vector, heads)


def binary(width):
    """Returns a network with one sigmoid output."""
    vector = keras.Input((6,))
    x = keras.layers.Dense(width, activation="tanh", name="features")(vector)
    return keras.Model(vector, keras.layers.Dense(1, activation="sigmoid")(x))


class OwnLoss(keras.Model):
    """A student that computes its loss itself."""

    def compute_loss(self, x=None, y=None, y_pred=None, *args, **kwargs):
        return keras.ops.mean(keras.ops.square(y_pred - keras.ops.one_hot(y, CLASSES)))


def with_own_loss(width):
    """Returns a network that computes its loss itself."""
    network = mlp(width)
    return OwnLoss(network.inputs, network.outputs)


def vectors(random):
    """Returns inputs and labels; the replicas' shares are unlike each other."""
    x = random.normal(size=(SAMPLES, 6)) * np.linspace(0.5, 2, SAMPLES)[:, None]
    return x.astype("float32"), random.integers(0, CLASSES, SAMPLES)


def positions(random):
    """Returns inputs and labels by position, many of them -1 in early samples."""
    x = random.normal(size=(SAMPLES, STEPS, 6)).astype("float32")
    y = random.integers(0, CLASSES, (SAMPLES, STEPS))
    ignored = random.random((SAMPLES, STEPS)) < np.linspace(0.7, 0.1, SAMPLES)[:, None]
    return x, np.where(ignored, -1, y)


def sentences(random):
    """Returns sentences that get longer, and a tag for every word."""
    words = random.integers(1, 9, (SAMPLES, STEPS))
    length = np.linspace(1.5, STEPS, SAMPLES)[:, None]
    y = random.integers(0, CLASSES, (SAMPLES, STEPS))
    return np.where(np.arange(STEPS) < length, words, 0), y


def weights():
    """Returns weights of the samples, unlike each other."""
    return np.linspace(0.2, 3.0, SAMPLES).astype("float32")


@dataclasses.dataclass
class Setting:
    """What is trained on one and on two replicas.

    Attributes:
        name: String, Markdown.
        optimizer: Function that makes one.
        loss: Function that makes one, or a dict of them; `None` for a student that
            has its own.
        metrics: Function that makes a list of them or what `compile` takes.
        student: Function of the width that makes the networks of both.
        data: Function of a random generator that makes `(x, y)`.
        methods: Function that makes the list of them.
        compiled: Dict, further arguments of `compile`.
        fitted: Dict, further arguments of `fit`.
        validated: Whether it is evaluated after every epoch.
        policy: String, dtype policy.
        tolerance: Float, the largest difference that counts as the same.
        refused: String in our error, if two replicas are refused.
        fails: String in TensorFlow's error, which ends plain Keras too.
        differs: String, why two replicas differ, if they do.
    """

    name: str
    optimizer: Callable = momentum
    loss: Callable | None = cross_entropy
    metrics: Callable = lambda: ["accuracy"]
    student: Callable = mlp
    data: Callable = vectors
    methods: Callable = methods
    compiled: dict = dataclasses.field(default_factory=dict)
    fitted: dict = dataclasses.field(default_factory=dict)
    validated: bool = False
    policy: str = "float32"
    tolerance: float = 2e-4
    refused: str = ""
    fails: str = ""
    differs: str = ""


def optimizers():
    """Yields the settings of optimizers, clipping, averages and loss scaling."""
    make = keras.optimizers
    yield Setting("SGD, momentum")
    yield Setting("SGD, Nesterov", lambda: SGD(0.05, momentum=0.9, nesterov=True))
    yield Setting("Adam", lambda: make.Adam(0.01))
    yield Setting("AdamW, weight decay 0.1", lambda: make.AdamW(0.01, weight_decay=0.1))
    yield Setting("Lion", lambda: make.Lion(0.003))
    yield Setting("RMSprop", lambda: make.RMSprop(0.01))
    yield Setting("Adafactor", lambda: make.Adafactor(0.01))
    yield Setting("SGD, `clipnorm`", lambda: SGD(0.5, clipnorm=0.02))
    yield Setting("SGD, `global_clipnorm`", lambda: SGD(0.5, global_clipnorm=0.02))
    yield Setting("SGD, `clipvalue`", lambda: SGD(0.5, clipvalue=0.005))
    yield Setting(
        "Adam, `global_clipnorm`, EMA",
        lambda: make.Adam(0.01, global_clipnorm=0.02, use_ema=True, ema_momentum=0.9),
    )
    yield Setting("SGD, EMA", lambda: SGD(0.05, use_ema=True, ema_momentum=0.8))
    yield Setting(
        "AdamW, `clipnorm`, cosine schedule",
        lambda: make.AdamW(make.schedules.CosineDecay(0.02, 8), clipnorm=0.1),
    )
    yield Setting(
        "gradient accumulation",
        lambda: SGD(0.05, gradient_accumulation_steps=2),
        refused="gradient_accumulation_steps",
    )
    yield Setting(
        "EMA, `ema_overwrite_frequency`",
        lambda: SGD(0.05, use_ema=True, ema_overwrite_frequency=2),
        refused="ema_overwrite_frequency",
    )
    yield Setting("loss scaling, float32", lambda: Scaled(momentum()))
    yield Setting(
        "loss scaling, `global_clipnorm`",
        lambda: Scaled(SGD(0.5, global_clipnorm=0.02)),
    )
    yield Setting(
        "loss scaling, mixed_float16",
        lambda: Scaled(momentum(), initial_scale=1024.0),
        policy="mixed_float16",
        tolerance=0.02,
    )


def losses():
    """Yields the settings of losses, reductions, masks and weights."""
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight"):
        yield Setting(
            f'`reduction="{reduction}"`',
            lambda: SGD(0.01),
            lambda reduction=reduction: cross_entropy(reduction=reduction),
        )
        yield Setting(
            f'`reduction="{reduction}"`, `sample_weight`',
            lambda: SGD(0.01),
            lambda reduction=reduction: cross_entropy(reduction=reduction),
            fitted={"sample_weight": weights()},
            differs=OWN_MEAN if "mean" in reduction else "",
        )
    yield Setting("`class_weight`", fitted={"class_weight": {0: 1.0, 1: 5.0, 2: 0.3}})
    ignoring = {"student": segmenter, "data": positions, "metrics": list}
    ignoring["methods"] = lambda: methods()[:1]
    for reduction in ("sum_over_batch_size", "sum"):
        yield Setting(
            f'`ignore_class`, `reduction="{reduction}"`',
            lambda: SGD(0.01),
            lambda reduction=reduction: cross_entropy(
                ignore_class=-1, reduction=reduction
            ),
            **ignoring,
            differs="" if reduction == "sum" else OWN_MEAN,
        )
    yield Setting(
        '`ignore_class`, `reduction="sum"`, `LogitsKD`',
        lambda: SGD(0.01),
        lambda: cross_entropy(ignore_class=-1, reduction="sum"),
        **{**ignoring, "methods": methods},
        differs=OWN_POSITIONS,
    )
    for reduction in ("sum_over_batch_size", "sum"):
        yield Setting(
            f'`mask_zero`, `reduction="{reduction}"`',
            lambda: SGD(0.01),
            lambda reduction=reduction: cross_entropy(reduction=reduction),
            student=tagger,
            data=sentences,
            methods=lambda: methods()[:1],
            differs="" if reduction == "sum" else OWN_MEAN,
        )
    heads = {"student": two_headed, "methods": lambda: methods()[:1]}
    heads["data"] = lambda random: (
        (x := vectors(random))[0],
        {"kind": x[1], "size": x[0][:, :1] ** 2},
    )
    yield Setting(
        "losses of two outputs",
        loss=lambda: {"kind": cross_entropy(), "size": "mse"},
        metrics=lambda: {"kind": ["accuracy"]},
        compiled={"loss_weights": {"kind": 1.0, "size": 0.3}},
        **heads,
    )
    yield Setting(
        'losses of two outputs, one `reduction="sum"`',
        lambda: SGD(0.01),
        loss=lambda: {
            "kind": cross_entropy(),
            "size": keras.losses.Huber(reduction="sum"),
        },
        metrics=lambda: {"kind": ["accuracy"]},
        **heads,
    )
    yield Setting("a student's own `compute_loss`", loss=None, student=with_own_loss)
    yield Setting(
        "DIST, correlations over the batch", methods=lambda: [DIST()], differs=OWN_BATCH
    )


def others():
    """Yields the settings of metrics, layers and ways of running a step."""
    one_hot = {
        "loss": lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
        "data": lambda random: (
            (x := vectors(random))[0],
            np.eye(CLASSES, dtype="float32")[x[1]],
        ),
    }
    yield Setting(
        "metric with a vector: `F1Score(average=None)`",
        metrics=lambda: [keras.metrics.F1Score(average=None)],
        **one_hot,
    )
    yield Setting(
        "metrics `MeanIoU` and `R2Score(class_aggregation=None)`",
        metrics=lambda: [
            keras.metrics.OneHotMeanIoU(CLASSES, name="iou"),
            keras.metrics.R2Score(class_aggregation=None),
        ],
        **one_hot,
    )
    yield Setting(
        "metrics `AUC` and `Precision`, one sigmoid output",
        loss=lambda: "binary_crossentropy",
        metrics=lambda: [
            keras.metrics.AUC(name="auc"),
            keras.metrics.Precision(name="precision"),
        ],
        student=binary,
        methods=lambda: methods()[:1],
        data=lambda random: (
            (x := vectors(random))[0],
            (x[1][:, None] > 0).astype("float32"),
        ),
    )
    yield Setting(
        "batch normalization, frozen",
        student=lambda width: mlp(width, norm(trainable=False)),
    )
    yield Setting(
        "batch normalization, `synchronized=True`",
        student=lambda width: mlp(width, norm(synchronized=True)),
    )
    yield Setting(
        "batch normalization",
        student=lambda width: mlp(width, norm()),
        differs=OWN_STATISTICS,
    )
    yield Setting(
        "dropout",
        student=lambda width: mlp(width, keras.layers.Dropout(0.5, seed=1)),
        differs=OWN_DRAWS,
    )
    yield Setting(
        "weight and activity regularizers",
        student=lambda width: mlp(
            width,
            keras.layers.Dense(
                5, kernel_regularizer="l2", activity_regularizer="l2", name="added"
            ),
        ),
    )
    yield Setting("XLA", compiled={"jit_compile": True})
    yield Setting(
        'XLA, `reduction="sum"`',
        lambda: SGD(0.01),
        lambda: cross_entropy(reduction="sum"),
        compiled={"jit_compile": True},
    )
    yield Setting(
        "`steps_per_execution=2`, four steps",
        compiled={"steps_per_execution": 2},
        fitted={"batch_size": 12},
        fails="InvalidArgumentError",
    )
    yield Setting(
        "a last batch that leaves one replica without samples",
        validated=True,
        fitted={"batch_size": 46},
    )


def norm(**kwargs):
    """Returns a layer of batch normalization."""
    return keras.layers.BatchNormalization(**kwargs)


SECTIONS = {
    "Optimizers": list(optimizers()),
    "Losses": list(losses()),
    "Metrics, layers, execution": list(others()),
}
