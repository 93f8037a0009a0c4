"""Situations of training, each tried on plain Keras and on a `Distiller`."""

import dataclasses
import warnings
from collections.abc import Callable

import keras
import numpy as np
import situation_models as models
import tensorflow as tf
from situation_models import L, cnn, mlp, tagger

from keras_diffkd import Distiller, FitNet

X, Y = models.vectors()
IMAGES = models.images()
SENTENCES = models.sentences()
BINARY = (X[:, 0] > 0.5).astype("float32")[:, None]
ONE_HOT = np.eye(models.CLASSES, dtype="float32")[Y]


def sparse(**kwargs):
    """Returns the loss of integer labels."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


def sgd(**kwargs):
    """Returns plain gradient descent: nothing in it hides a wrong gradient."""
    return keras.optimizers.SGD(0.5, **kwargs)


@dataclasses.dataclass(frozen=True)
class Situation:
    """A training that plain Keras does, and a `Distiller` must do alike.

    Attributes:
        given: String, the situation, for the table.
        student: Callable that makes the student; it has a layer `features`.
        data: `(x, y)` as `fit` takes them, or a callable that makes them anew.
        optimizer: Callable that makes the optimizer.
        loss: Callable that makes the loss, or `None`.
        compiled: Callable that makes further arguments of `compile`.
        fitted: Callable that makes further arguments of `fit`.
        tolerance: Float, how far weights may differ.
    """

    given: str
    student: Callable = mlp
    data: object = (X, Y)
    optimizer: Callable = sgd
    loss: Callable | None = sparse
    compiled: Callable = dict
    fitted: Callable = dict
    tolerance: float = 1e-5

    def train(self, distill):
        """Trains the student alone, by plain Keras or in a `Distiller`.

        The `Distiller` has a method of weight 0: both models run, and the student
        must not learn from it.

        Returns:
            `(weights, history)`.
        """
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        student = self.student()
        model = student
        if distill:
            teacher = keras.models.clone_model(student) if _copies(student) else mlp()
            method = FitNet("features", "features", weight=0.0)
            model = Distiller(teacher, student, [method])
        settings = {"jit_compile": False, "metrics": None, **self.compiled()}
        loss = self.loss() if self.loss else None
        model.compile(self.optimizer(), loss, **settings)
        x, y = self.data() if callable(self.data) else self.data
        keras.utils.set_random_seed(1)
        arguments = {"epochs": 2, "verbose": 0, "shuffle": False, **self.fitted()}
        if isinstance(x, (np.ndarray, dict, list)):
            arguments.setdefault("batch_size", 16)
        history = model.fit(x, y, **arguments).history
        return student.get_weights(), history

    def compare(self):
        """Trains both ways; returns the plain loss and "same", for the table.

        Raises:
            AssertionError: If weights or logs differ.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected, plain = self.train(distill=False)
            weights, ours = self.train(distill=True)
        gap = max(
            (np.abs(a - b).max() for a, b in zip(expected, weights, strict=True)),
            default=0.0,
        )
        assert gap <= self.tolerance, f"weights differ by {gap}"
        logs = {name: values for name, values in plain.items() if name != "loss"}
        logs["task_loss"] = plain["loss"]
        for name, values in logs.items():
            np.testing.assert_allclose(
                np.array(ours[name]), np.array(values), rtol=1e-3, atol=1e-5
            )
        loss = " to ".join(f"{plain['loss'][k]:.3f}" for k in (0, -1))
        return loss, "same"


def _copies(model):
    return not isinstance(model, models.Subclassed)


def _two_outputs(x):
    return [L.Dense(3, name="kind")(x), L.Dense(1, name="size")(x)]


def _two_outputs_by_name(x):
    return dict(zip(("kind", "size"), _two_outputs(x), strict=True))


def _two_losses():
    return {"kind": sparse(), "size": "mse"}


def _uneven():
    return X[:41], Y[:41]


def _data_set():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(16), None


def _no_data_pixels():
    x = X.copy()
    x[3, 0] = x[7, 1] = -3.4e38
    return x, Y


def _ignored_labels():
    x, y = SENTENCES
    return x, np.where(x == 0, -1, y)


def _text():
    words = np.array([["red", "green", "blue"][k] for k in Y], dtype=object)
    return tf.constant(words[:, None]), tf.constant(Y)


def _reads_text():
    inputs = keras.Input((1,), dtype="string")
    vectorize = L.TextVectorization(
        vocabulary=["red", "green", "blue"], output_sequence_length=1
    )
    x = L.Flatten()(L.Embedding(8, 4)(vectorize(inputs)))
    x = L.Dense(8, activation="relu", name="features")(x)
    return keras.Model(inputs, L.Dense(3)(x))


def _two_inputs():
    first, second = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    x = L.Dense(8, activation="relu", name="features")(L.Add()([first, second]))
    return keras.Model({"a": first, "b": second}, L.Dense(3)(x))


def _nested():
    return keras.Sequential([keras.Input((6,)), mlp(), L.Dense(3, name="features")])


def _shared_layer():
    layer = L.Dense(6, activation="tanh")
    return mlp([lambda x: layer(layer(x))], units=6)


def _frozen_part():
    model = cnn([L.BatchNormalization()])
    model.get_layer("conv").trainable = False
    return model


def _with_frozen_statistics():
    normalization = L.BatchNormalization()
    normalization.trainable = False
    return cnn([normalization])


def _recurrent(layer):
    def student():
        inputs = keras.Input((9,), dtype="int32")
        x = layer()(L.Embedding(20, 8, mask_zero=True)(inputs))
        x = L.Dense(8, activation="relu", name="features")(x)
        return keras.Model(inputs, L.Dense(3)(x))

    return student


def _labels_of_sentences():
    return SENTENCES[0], Y


def _add_on_unused_head():
    model = mlp()
    unused = L.Dense(2, name="unused")
    unused.build((None, 8))
    model.unused = unused
    return model


def _schedule():
    return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.5, 6))


def _callbacks(*callbacks):
    return lambda: {"callbacks": [make() for make in callbacks]}


def _clip(**kwargs):
    return lambda: sgd(**kwargs)


def _optimizer(name, **kwargs):
    return lambda: getattr(keras.optimizers, name)(**kwargs)


def _wrapped(*layers):
    return lambda: mlp([make() for make in layers])


def _metrics(*metrics, **kwargs):
    return lambda: {"metrics": [make() for make in metrics], **kwargs}


DATA = [
    Situation("arrays and labels"),
    Situation("a last batch of another size", data=_uneven),
    Situation("a `tf.data.Dataset`", data=_data_set),
    Situation("a `PyDataset`", data=lambda: (models.Batches(), None)),
    Situation(
        "a generator, `steps_per_epoch`",
        data=lambda: (models.generator(), None),
        fitted=lambda: {"steps_per_epoch": 3},
    ),
    Situation("`validation_split`", fitted=lambda: {"validation_split": 0.25}),
    Situation(
        "`sample_weight`",
        fitted=lambda: {"sample_weight": np.linspace(0.0, 2.0, len(X))},
    ),
    Situation(
        "`class_weight` of classes", fitted=lambda: {"class_weight": {0: 1, 1: 5, 2: 2}}
    ),
    Situation(
        "`class_weight` of one sigmoid output",
        student=lambda: mlp(outputs=L.Dense(1, activation="sigmoid")),
        data=(X, BINARY),
        loss=keras.losses.BinaryCrossentropy,
        fitted=lambda: {"class_weight": {0: 1.0, 1: 5.0}},
    ),
    Situation(
        "`class_weight` of one logit",
        student=lambda: mlp(outputs=L.Dense(1)),
        data=(X, BINARY),
        loss=lambda: keras.losses.BinaryCrossentropy(from_logits=True),
        fitted=lambda: {"class_weight": {0: 1.0, 1: 5.0}},
    ),
    Situation(
        "one-hot labels, smoothed",
        data=(X, ONE_HOT),
        loss=lambda: keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.1
        ),
    ),
    Situation(
        "several labels a sample",
        data=(X, (X[:, :3] > 0).astype("float32")),
        loss=lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    ),
    Situation("regression", data=(X, X[:, :3]), loss=keras.losses.Huber),
    Situation(
        "values of -3.4e38, clipped by the model",
        data=_no_data_pixels,
        student=lambda: _clipping(),
    ),
    Situation("text and a `TextVectorization` layer", _reads_text, _text),
    Situation(
        "two inputs by name", _two_inputs, lambda: ({"a": X, "b": X[::-1].copy()}, Y)
    ),
]


def _clipping():
    inputs = keras.Input((6,))
    x = keras.ops.clip(inputs, -1.0, 1.0)
    x = L.Dense(8, activation="relu", name="features")(x)
    return keras.Model(inputs, L.Dense(3)(x))


OUTPUTS = [
    Situation(
        "a list of outputs, losses by name",
        lambda: mlp(outputs=_two_outputs),
        (X, {"kind": Y, "size": X[:, :1]}),
        loss=_two_losses,
        compiled=lambda: {"loss_weights": {"kind": 1.0, "size": 0.5}},
    ),
    Situation(
        "a list of outputs, losses and metrics by name",
        lambda: mlp(outputs=_two_outputs),
        (X, {"kind": Y, "size": X[:, :1]}),
        loss=_two_losses,
        compiled=lambda: {"metrics": {"kind": ["accuracy"], "size": ["mae"]}},
    ),
    Situation(
        "a list of outputs, losses as a list",
        lambda: mlp(outputs=_two_outputs),
        lambda: (X, [Y, X[:, :1]]),
        loss=lambda: [sparse(), "mse"],
    ),
    Situation(
        "a dictionary of outputs",
        lambda: mlp(outputs=_two_outputs_by_name),
        (X, {"kind": Y, "size": X[:, :1]}),
        loss=_two_losses,
        compiled=lambda: {"metrics": {"kind": ["accuracy"]}},
    ),
    Situation(
        "a loss for one of two outputs",
        lambda: mlp(outputs=_two_outputs_by_name),
        (X, {"kind": Y}),
        loss=lambda: {"kind": sparse()},
    ),
]
STATE = [
    Situation("batch normalization", lambda: cnn([L.BatchNormalization()]), IMAGES),
    Situation("batch normalization, frozen", _with_frozen_statistics, IMAGES),
    Situation(
        "`SpectralNormalization`", _wrapped(lambda: L.SpectralNormalization(L.Dense(8)))
    ),
    Situation("a layer that assigns its own kernel", _wrapped(models.Clipped)),
    Situation("a layer that counts and adds a loss", _wrapped(models.Counter)),
    Situation("dropout", _wrapped(lambda: L.Dropout(0.5))),
    Situation("dropout inside `ops.cond`", _wrapped(models.Branch)),
    Situation("`GaussianNoise` with a seed", _wrapped(lambda: L.GaussianNoise(0.1, 7))),
    Situation(
        "`keras.random.normal` without a seed generator", _wrapped(models.GlobalNoise)
    ),
    Situation("a subclassed student with dropout", models.subclassed),
    Situation(
        "an adapted `Normalization` layer",
        _wrapped(lambda: L.Normalization(mean=0.5, variance=2.0)),
    ),
    Situation("a model inside another", _nested),
]
GRADIENTS = [
    Situation(
        "`keras.remat` around a block", _wrapped(lambda: models.Block(recompute=True))
    ),
    Situation(
        "`keras.remat` around a block, XLA",
        _wrapped(lambda: models.Block(recompute=True)),
        compiled=lambda: {"jit_compile": True},
    ),
    Situation("a layer that runs twice", _shared_layer),
    Situation("a frozen layer below batch normalization", _frozen_part, IMAGES),
    Situation("a head that is not used", _add_on_unused_head),
    Situation(
        "kernel and activity regularizers",
        lambda: mlp(kernel_regularizer="l2", activity_regularizer="l2"),
    ),
    Situation("a kernel constraint", lambda: mlp(kernel_constraint="max_norm")),
    Situation("`clipnorm`", optimizer=_clip(clipnorm=0.01)),
    Situation("`global_clipnorm`", optimizer=_clip(global_clipnorm=0.01)),
    Situation("`clipvalue`", optimizer=_clip(clipvalue=0.001)),
    Situation(
        "an exponential moving average of the weights",
        optimizer=_clip(use_ema=True, ema_overwrite_frequency=2),
    ),
    Situation(
        "`gradient_accumulation_steps`", optimizer=_clip(gradient_accumulation_steps=2)
    ),
    Situation("AdamW", optimizer=_optimizer("AdamW", learning_rate=0.01)),
    Situation("Lion", optimizer=_optimizer("Lion", learning_rate=0.01)),
    Situation("Adafactor", optimizer=_optimizer("Adafactor", learning_rate=0.01)),
    Situation(
        "Muon on matrices",
        optimizer=_optimizer("Muon", learning_rate=0.01),
        tolerance=1e-4,
    ),
    Situation(
        "loss scaling, float32",
        optimizer=lambda: keras.optimizers.LossScaleOptimizer(sgd()),
    ),
    Situation("a learning rate schedule", optimizer=_schedule),
    Situation(
        '`reduction="sum"`',
        loss=lambda: sparse(reduction="sum"),
        optimizer=_optimizer("SGD", learning_rate=0.01),
    ),
]
SEQUENCES = [
    Situation(
        "`mask_zero=True`, metrics",
        tagger,
        SENTENCES,
        compiled=_metrics(lambda: "accuracy"),
    ),
    Situation(
        "`mask_zero=True`, metrics, XLA",
        tagger,
        SENTENCES,
        compiled=_metrics(lambda: "accuracy", jit_compile=True),
    ),
    Situation(
        "`ignore_class`",
        lambda: tagger(False),
        _ignored_labels,
        loss=lambda: sparse(ignore_class=-1),
    ),
    Situation("LSTM with a mask", _recurrent(lambda: L.LSTM(8)), _labels_of_sentences),
    Situation("GRU with a mask", _recurrent(lambda: L.GRU(8)), _labels_of_sentences),
    Situation(
        "bidirectional LSTM",
        _recurrent(lambda: L.Bidirectional(L.LSTM(4))),
        _labels_of_sentences,
    ),
    Situation(
        "Conv1D over a sequence",
        lambda: tagger(False, [L.Conv1D(8, 3, padding="same")]),
        SENTENCES,
    ),
    Situation(
        "attention with a causal mask",
        lambda: tagger(
            between=[lambda x: L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)]
        ),
        SENTENCES,
    ),
]
RUNNING = [
    Situation(
        "`metrics`: accuracy and AUC of one output",
        lambda: mlp(outputs=L.Dense(1, activation="sigmoid")),
        (X, BINARY),
        loss=keras.losses.BinaryCrossentropy,
        compiled=_metrics(lambda: "accuracy", keras.metrics.AUC),
    ),
    Situation(
        "a metric with a vector as its result",
        data=(X, ONE_HOT),
        student=lambda: mlp(outputs=L.Dense(3, activation="softmax")),
        loss=keras.losses.CategoricalCrossentropy,
        compiled=_metrics(lambda: keras.metrics.F1Score(average=None)),
    ),
    Situation(
        "`weighted_metrics` and `sample_weight`",
        compiled=lambda: {"weighted_metrics": ["accuracy"]},
        fitted=lambda: {"sample_weight": np.linspace(0.0, 2.0, len(X))},
    ),
    Situation("`steps_per_execution`", compiled=lambda: {"steps_per_execution": 3}),
    Situation("`run_eagerly`", compiled=lambda: {"run_eagerly": True}),
    Situation("`jit_compile=True`", compiled=lambda: {"jit_compile": True}),
    Situation("`initial_epoch`", fitted=lambda: {"initial_epoch": 1, "epochs": 3}),
    Situation(
        "`EarlyStopping(restore_best_weights=True)`",
        optimizer=_optimizer("SGD", learning_rate=30.0),
        fitted=lambda: {
            "epochs": 6,
            "callbacks": [
                keras.callbacks.EarlyStopping(
                    "val_loss", patience=2, restore_best_weights=True
                )
            ],
            "validation_split": 0.25,
        },
    ),
    Situation(
        "`ReduceLROnPlateau`",
        optimizer=_optimizer("SGD", learning_rate=0.0001),
        fitted=lambda: {
            "epochs": 5,
            "validation_split": 0.25,
            "callbacks": [keras.callbacks.ReduceLROnPlateau(min_delta=1.0, patience=1)],
        },
    ),
]
SECTIONS = {
    "Data": DATA,
    "Outputs and losses": OUTPUTS,
    "State": STATE,
    "Gradients and optimizers": GRADIENTS,
    "Sequences and masks": SEQUENCES,
    "Metrics and running": RUNNING,
}
CASES = [case for cases in SECTIONS.values() for case in cases]
