import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.keras_files import classes_not_of_keras
from helpers.small_models import (
    SubclassedCNN,
    cross_entropy,
    random_batch,
    small_cnn,
    weights_of,
)

from keras_diffkd import DiffKD, DistillationMethod, Distiller, FitNet, LogitsKD


@keras.saving.register_keras_serializable(package="tests")
def double(x):
    return 2.0 * x


@keras.saving.register_keras_serializable(package="tests")
class Upscale(keras.layers.Layer):
    def call(self, x):
        return keras.ops.repeat(keras.ops.repeat(x, 2, axis=1), 2, axis=2)


def make_distiller(teacher=None, student=None, methods=None, **arguments):
    keras.utils.set_random_seed(0)
    teacher = small_cnn(12, name="teacher") if teacher is None else teacher
    student = small_cnn(6, name="student") if student is None else student
    methods = [LogitsKD()] if methods is None else methods
    return Distiller(teacher, student, methods, **arguments)


def diffkd(**arguments):
    """Denoises in one step: traced and compiled sooner."""
    return DiffKD(
        "features", "features", latent_channels=8, num_inference_steps=1, **arguments
    )


def compiled(distiller=None, learning_rate=0.05, **arguments):
    distiller = distiller or make_distiller()
    optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9)
    distiller.compile(optimizer, cross_entropy(), **arguments)
    return distiller


def assert_all_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_logs(first, second):
    assert set(first) == set(second)
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, rtol=1e-5, err_msg=name)


def test_fit_logs_named_losses_and_lowers_them(rng):
    distiller = compiled(
        make_distiller(
            methods=[
                diffkd(name="maps"),
                LogitsKD(weight=0.5),
            ],
            task_loss_weight=2.0,
        ),
        metrics=["accuracy"],
    )
    teacher_before = weights_of(distiller.teacher)
    x, y = random_batch(rng, 64)
    teacher_flag = distiller.teacher.trainable
    history = distiller.fit(
        x, y, validation_data=(x, y), batch_size=32, epochs=6, verbose=0
    ).history

    losses = {"maps/distill", "maps/denoise", "maps/reconstruct"}
    training = {"loss", "task_loss", "maps/gamma", "kd/distill", "accuracy", *losses}
    assert set(history) == training | {"val_loss", "val_accuracy"}
    for name in ("loss", "task_loss", *losses):
        assert history[name][-1] < history[name][0], name
    total = (
        2.0 * np.array(history["task_loss"])
        + sum(np.array(history[name]) for name in losses)
        + 0.5 * np.array(history["kd/distill"])
    )
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)

    student_loss = cross_entropy()(y, distiller.student(x, training=False))
    np.testing.assert_allclose(history["val_loss"][-1], student_loss, rtol=1e-5)
    assert_all_equal(teacher_before, weights_of(distiller.teacher))
    assert distiller.teacher.trainable == teacher_flag


def test_one_forward_pass_of_each_model_per_step(rng):
    distiller = compiled(run_eagerly=True)
    calls = {"teacher": [], "student": []}
    for name in calls:
        layer = getattr(distiller, name).get_layer("features")

        def call(x, *args, _original=layer.call, _calls=calls[name], **kwargs):
            _calls.append(1)
            return _original(x, *args, **kwargs)

        layer.__dict__["call"] = call
    x, y = random_batch(rng, 64)
    distiller.fit(x, y, batch_size=32, verbose=0)
    # Before the first batch, Keras may run the student to build the metrics.
    for log in calls.values():
        log.clear()
    distiller.fit(x, y, batch_size=32, verbose=0)
    assert {name: len(c) for name, c in calls.items()} == {"teacher": 2, "student": 2}
    calls["teacher"].clear()
    distiller.evaluate(x, y, verbose=0)
    distiller.predict(x, verbose=0)
    assert not calls["teacher"]


def one_step(rng_seed=0, fit_arguments=None, student=None, **arguments):
    """Task loss and trained weights after one step without methods."""
    keras.utils.set_random_seed(0)
    student = student or small_cnn(6)
    distiller = compiled(Distiller(student=student), **arguments)
    x, y = random_batch(np.random.default_rng(rng_seed))
    history = distiller.fit(x, y, batch_size=32, verbose=0, **(fit_arguments or {}))
    return history.history, weights_of(student)


def plain_step(fit_arguments=None, student=None):
    """The same with the student's own `fit`."""
    keras.utils.set_random_seed(0)
    student = student or small_cnn(6)
    student.compile(
        keras.optimizers.SGD(0.05, momentum=0.9), cross_entropy(), jit_compile=False
    )
    x, y = random_batch(np.random.default_rng(0))
    history = student.fit(x, y, batch_size=32, verbose=0, **(fit_arguments or {}))
    return history.history, weights_of(student)


@pytest.mark.parametrize(
    "fit_arguments",
    [
        {},
        {"sample_weight": np.linspace(0, 2, 32)},
        {"class_weight": dict.fromkeys(range(10), 1.0) | {3: 5.0}},
    ],
    ids=["plain", "sample_weight", "class_weight"],
)
def test_without_methods_a_step_is_that_of_the_student_alone(fit_arguments):
    ours, our_weights = one_step(fit_arguments=fit_arguments)
    theirs, their_weights = plain_step(fit_arguments)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-6)
    for a, b in zip(our_weights, their_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_regularization_losses_of_the_student_count():
    def student():
        keras.utils.set_random_seed(0)
        kinds = "kernel_regularizer", "activity_regularizer"
        return small_cnn(6, **{kind: keras.regularizers.L2(0.5) for kind in kinds})

    regularized = student()
    regularized(random_batch(np.random.default_rng(0))[0])
    assert len(regularized.losses) == 2
    assert all(float(loss) > 0.01 for loss in regularized.losses)
    ours, our_weights = one_step(student=student())
    theirs, their_weights = plain_step(student=student())
    np.testing.assert_allclose(ours["task_loss"], theirs["loss"], rtol=1e-6)
    for a, b in zip(our_weights, their_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.backend("tensorflow", "jax")
def test_steps_per_execution_changes_nothing(rng):
    x, y = random_batch(rng, 128)
    results = []
    for steps in (1, 4):
        distiller = compiled(steps_per_execution=steps)
        logs = distiller.fit(x, y, batch_size=32, shuffle=False, verbose=0).history
        results.append((logs, weights_of(distiller.student)))
    assert_same_logs(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(rng, policy):
    keras.config.set_dtype_policy(policy)
    distiller = make_distiller(methods=[FitNet("features", "features")])
    compiled(distiller, learning_rate=0.01)
    assert distiller.student.compute_dtype == policy.removeprefix("mixed_")
    is_scaled = isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    assert is_scaled == (policy == "mixed_float16")
    x, y = random_batch(rng, 64)
    history = distiller.fit(x, y, batch_size=32, epochs=4, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert history["loss"][-1] < history["loss"][0]
    losses, y_pred = distiller.compute_training_losses(x[:4], y[:4])
    dtypes = {
        keras.backend.standardize_dtype(t.dtype) for t in (y_pred, *losses.values())
    }
    assert dtypes == {policy.removeprefix("mixed_"), "float32"}
    assert keras.backend.standardize_dtype(y_pred.dtype) != "float32"


def test_loss_scaling_changes_nothing_but_the_scale(rng):
    x, y = random_batch(rng, 64)
    results = []
    for scaled in (False, True):
        distiller = make_distiller(methods=[FitNet("features", "features")])
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 1024.0)
        distiller.compile(optimizer, cross_entropy())
        logs = distiller.fit(x, y, batch_size=32, shuffle=False, verbose=0).history
        results.append((logs, weights_of(distiller)))
    assert results[1][0].pop("skipped_steps") == [0.0]
    assert_same_logs(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

    # A gradient that is not finite is not applied, and the scale is halved.
    weights = [np.array(v) for v in distiller.trainable_variables]
    optimizer.dynamic_scale.assign(2.0**127)
    distiller.train_on_batch(x, y, np.full(64, 1e6, "float32"))
    assert_all_equal(weights, [np.array(v) for v in distiller.trainable_variables])
    assert float(optimizer.dynamic_scale.value) == 2.0**126

    # Nor does another `fit` begin anew.
    optimizer.dynamic_scale.assign(512.0)
    variables = len(optimizer.variables)
    distiller.fit(x, y, batch_size=32, verbose=0)
    assert len(optimizer.variables) == variables
    assert float(optimizer.dynamic_scale.value) == 512.0


def two_headed(width):
    inputs = {"image": keras.Input((8, 8, 1), name="image")}
    base = small_cnn(width)
    logits = base(inputs["image"])
    outputs = {"logits": logits, "size": keras.layers.Dense(1, name="size")(logits)}
    return keras.Model(inputs, outputs)


def test_dictionaries_as_inputs_and_outputs(rng):
    teacher, student = two_headed(12), two_headed(6)
    tap = next(layer.name for layer in teacher.layers if "functional" in layer.name)
    student_tap = next(l.name for l in student.layers if "functional" in l.name)  # noqa: E741
    distiller = Distiller(teacher, student, [LogitsKD(tap, student_tap)])
    distiller.compile(
        "sgd",
        {"logits": cross_entropy(), "size": "mse"},
        loss_weights={"logits": 1.0, "size": 0.1},
        metrics={"logits": "accuracy"},
        jit_compile=True,
    )
    x, y = random_batch(rng)
    targets = {"logits": y, "size": y.astype("float32")[:, None]}
    history = distiller.fit(
        {"image": x}, targets, validation_data=({"image": x}, targets), verbose=0
    ).history
    assert {"task_loss", "kd/distill", "logits_loss", "size_loss"} <= set(history)
    assert history["logits_loss"][0] > 0
    assert any(name.startswith("val_") and "accuracy" in name for name in history)


def test_tuples_as_inputs(rng):
    def model(width):
        a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
        x = keras.layers.Dense(width)(keras.layers.Concatenate()([a, b]))
        return keras.Model((a, b), keras.layers.Dense(10)(x))

    distiller = compiled(make_distiller(model(12), model(6)))
    x = (rng.normal(size=(32, 8)), rng.normal(size=(32, 8)))
    data = tf.data.Dataset.from_tensor_slices((x, rng.integers(0, 10, 32))).batch(16)
    assert distiller.fit(data, verbose=0).history["kd/distill"][0] > 0


def test_subclassed_models(rng):
    x, y = random_batch(rng)
    models = [SubclassedCNN(12), SubclassedCNN(6)]
    for model in models:
        model(x)
    distiller = compiled(
        make_distiller(*models, methods=[FitNet("body/features", "body/features")])
    )
    history = distiller.fit(x, y, epochs=3, verbose=0).history
    assert history["fitnet/distill"][-1] < history["fitnet/distill"][0]


def test_callbacks_and_early_stopping(rng):
    seen = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(set(logs))

    x, y = random_batch(rng, 64)
    stop = keras.callbacks.EarlyStopping(
        "kd/distill", patience=0, min_delta=1e9, mode="min"
    )
    history = compiled().fit(
        x, y, batch_size=32, epochs=5, callbacks=[Record(), stop], verbose=0
    )
    assert len(history.epoch) == 2
    assert seen[0] == {"loss", "task_loss", "kd/distill"}


def test_teacher_preprocess_feeds_the_teacher_alone(rng):
    x, y = random_batch(rng)
    distiller = compiled(make_distiller(teacher_preprocess=double), run_eagerly=True)
    logs = distiller.fit(x, y, batch_size=32, verbose=0).history
    expected = LogitsKD().compute_losses(
        distiller.teacher(2 * x, training=False),
        make_distiller().student(x, training=True),
    )
    np.testing.assert_allclose(logs["kd/distill"][0], expected["distill"], rtol=1e-4)

    image = keras.Input((16, 16, 1))
    pooled = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 3)(image))
    wide = keras.Model(image, keras.layers.Dense(10)(pooled))
    distiller = compiled(make_distiller(wide, teacher_preprocess=Upscale()))
    assert distiller.fit(x, y, verbose=0).history["kd/distill"][0] > 0


def test_a_student_with_its_own_loss(rng):
    class OwnLoss(keras.Model):
        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            return keras.ops.mean(keras.ops.square(y_pred))

    base = small_cnn(6)
    student = OwnLoss(base.inputs, base.outputs)
    distiller = make_distiller(student=student)
    with pytest.raises(ValueError, match="no task loss"):
        distiller.compile("sgd")
    student.compile("sgd")
    distiller.compile(keras.optimizers.SGD(0.0))
    x, y = random_batch(rng)
    logs = distiller.fit(x, y, batch_size=32, verbose=0).history
    expected = np.square(np.array(student(x, training=True))).mean()
    np.testing.assert_allclose(logs["task_loss"][0], expected, rtol=1e-4)


def test_strip_is_the_student_bit_for_bit(rng):
    distiller = compiled(make_distiller(methods=[FitNet("features", "features")]))
    x, y = random_batch(rng, 64)
    distiller.fit(x, y, batch_size=32, verbose=0)
    expected = np.array(distiller(x, training=False))
    student = distiller.strip()

    np.testing.assert_array_equal(student(x, training=False), expected)
    assert type(student).__module__.startswith("keras.")
    foreign = [distiller.teacher, *distiller.methods]
    reachable = student._flatten_layers()
    assert not any(layer is other for layer in reachable for other in foreign)
    assert all("call" not in layer.__dict__ for layer in reachable)


def test_the_file_of_a_stripped_student_needs_nothing_but_keras(rng, tmp_path):
    distiller = compiled(make_distiller(methods=[FitNet("features", "features")]))
    x, y = random_batch(rng, 64)
    distiller.fit(x, y, batch_size=32, verbose=0)
    student = distiller.strip()
    expected = np.array(student(x, training=False))
    student.save(tmp_path / "student.keras")
    assert not classes_not_of_keras(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    assert type(loaded).__module__.startswith("keras.")
    np.testing.assert_array_equal(loaded(x, training=False), expected)
    # A file that does need more is recognized.
    distiller.save(tmp_path / "distiller.keras")
    needed = classes_not_of_keras(tmp_path / "distiller.keras")
    assert "keras_diffkd.distiller" in needed


def test_saved_distillers_load_without_the_teachers_weights(rng, tmp_path):
    distiller = compiled(
        make_distiller(
            teacher=small_cnn(200, name="teacher"),
            methods=[FitNet("features", "features")],
            teacher_preprocess=double,
        ),
        metrics=["accuracy"],
        jit_compile=False,
    )
    x, y = random_batch(rng, 64)
    distiller.fit(x, y, batch_size=32, verbose=0)
    distiller.save(tmp_path / "run.keras")
    with zipfile.ZipFile(tmp_path / "run.keras") as archive:
        stored = archive.getinfo("model.weights.h5").file_size
        assert b"teacher" not in archive.read("model.weights.h5")
    own = sum(v.numpy().nbytes for v in distiller.optimizer.variables)
    own += sum(np.array(v).nbytes for v in distiller.variables)
    assert stored < own + 60_000
    loaded = keras.models.load_model(tmp_path / "run.keras")
    np.testing.assert_array_equal(loaded(x, training=False), distiller(x))
    assert_all_equal(weights_of(loaded), weights_of(distiller))
    assert_all_equal(
        [np.array(v) for v in loaded.optimizer.variables],
        [np.array(v) for v in distiller.optimizer.variables],
    )
    assert loaded.record.jit_compile is False

    with pytest.raises(ValueError, match="does not hold the teacher's weights"):
        loaded.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="does not hold the teacher's weights"):
        loaded.train_on_batch(x, y)
    with pytest.raises(
        ValueError, match=r"features must have the shapes.*\(None, 4, 4, 7\)"
    ):
        loaded.attach_teacher(small_cnn(7))
    with pytest.warns(UserWarning, match="not have the weights"):
        make_and_attach_other(loaded)

    again = keras.models.load_model(tmp_path / "run.keras")
    again.teacher.set_weights(distiller.teacher.get_weights())
    logs = [
        m.fit(x, y, batch_size=32, shuffle=False, verbose=0).history
        for m in (distiller, again)
    ]
    assert_same_logs(*logs)


def make_and_attach_other(distiller):
    distiller.attach_teacher(small_cnn(200))
    assert not any(
        "teacher" in v.path or v.shape == (3, 3, 1, 200) for v in distiller.variables
    )


def test_a_new_teacher_counts_from_the_next_step_on(rng):
    x, y = random_batch(rng)
    student = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    student.add(keras.layers.Dense(10))
    distiller = compiled(make_distiller(student=student), learning_rate=0.0)
    teachers = [distiller.teacher, small_cnn(12)]
    for teacher in teachers:
        distiller.attach_teacher(teacher)
        logs = distiller.fit(x, y, batch_size=32, verbose=0).history
        expected = LogitsKD().compute_losses(teacher(x, training=False), student(x))
        np.testing.assert_allclose(
            logs["kd/distill"][0], expected["distill"], rtol=1e-5
        )


def test_weights_file_round_trip(rng, tmp_path):
    distiller = make_distiller(methods=[FitNet("features", "features")])
    distiller.save_weights(tmp_path / "x.weights.h5")
    other = make_distiller(methods=[FitNet("features", "features")])
    for variable in other.variables:
        variable.assign(np.zeros(variable.shape))
    other.load_weights(tmp_path / "x.weights.h5")
    assert_all_equal(weights_of(other), weights_of(distiller))


def test_config_round_trip():
    distiller = make_distiller(
        methods=[diffkd(), LogitsKD()],
        task_loss_weight=0.5,
        name="mine",
    )
    copy = Distiller.from_config(distiller.get_config())
    assert copy.name == "mine"
    assert copy.task_loss_weight == 0.5
    assert [m.get_config() for m in copy.methods] == [
        m.get_config() for m in distiller.methods
    ]
    assert copy.student.get_config() == distiller.student.get_config()
    assert copy.teacher.get_config() == distiller.teacher.get_config()


class Reparameterized(LogitsKD):
    """Wraps the student for training and unwraps it for shipping."""

    def prepare_student(self, student):
        self.inner = [student]
        return keras.Sequential([student], name="prepared")

    def fold_student(self, student):
        return student.layers[0]


def test_methods_may_prepare_and_fold_the_student():
    student = small_cnn(6)
    distiller = Distiller(small_cnn(12), student, [Reparameterized()])
    assert distiller.student.name == "prepared"
    assert distiller.strip() is student


class Misnamed(LogitsKD):
    def compute_losses(self, *args, **kwargs):
        return {"distil": super().compute_losses(*args, **kwargs)["distill"]}


def test_a_loss_that_would_silently_count_for_nothing_is_refused(rng):
    distiller = compiled(make_distiller(methods=[Misnamed()]), run_eagerly=True)
    x, y = random_batch(rng)
    with pytest.raises(ValueError, match=r"\['distill'\]. Received: \['distil'\]"):
        distiller.fit(x, y, verbose=0)


def softmax_cnn():
    return small_cnn(12, activation="softmax")


class SubclassedSoftmax(SubclassedCNN):
    def call(self, x):
        return keras.ops.softmax(super().call(x))


def built_subclassed_softmax():
    model = SubclassedSoftmax()
    model(np.zeros((1, 8, 8, 1)))
    return model


def student_of_the_teachers_layers():
    teacher = small_cnn(12)
    features = teacher.get_layer("features").output
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(features))
    return Distiller(teacher, keras.Model(teacher.input, logits), [LogitsKD()])


BAD = {
    "shared weights": (
        student_of_the_teachers_layers,
        "must not share trainable weights",
    ),
    "unknown tap": (
        lambda: make_distiller(methods=[FitNet("feature", "features")]),
        "^Model 'teacher' has no layer 'feature'.*'features'",
    ),
    "tap that is no tensor": (
        lambda: Distiller(two_headed(6), two_headed(6), [LogitsKD()]),
        "^The output of model .* must be a single tensor.*'logits', 'size'",
    ),
    "student not built": (
        lambda: Distiller(small_cnn(6), SubclassedCNN(), [LogitsKD()]),
        "`student` must be built",
    ),
    "teacher not built": (
        lambda: Distiller(SubclassedCNN(), small_cnn(6), [LogitsKD()]),
        "`teacher` must be built",
    ),
    "not a model": (
        lambda: Distiller(small_cnn(6), "resnet", [LogitsKD()]),
        "`student` must be a keras.Model. Received: str",
    ),
    "different inputs": (
        lambda: make_distiller(teacher=small_cnn(12, channels=3)),
        "same inputs.*teacher_preprocess",
    ),
    "different classes": (
        lambda: make_distiller(teacher=small_cnn(12, classes=7)),
        "same number of classes.*teacher 7, student 10",
    ),
    "different classes, DiffKD": (
        lambda: make_distiller(
            teacher=small_cnn(12, classes=7), methods=[DiffKD(distance="kl")]
        ),
        "same number of classes",
    ),
    "teacher of probabilities": (
        lambda: make_distiller(teacher=softmax_cnn()),
        "expects logits, but the teacher .* outputs probabilities .softmax",
    ),
    "subclassed teacher of probabilities": (
        lambda: make_distiller(teacher=built_subclassed_softmax()),
        "outputs probabilities .rows that sum to 1",
    ),
    "student of probabilities": (
        lambda: make_distiller(student=softmax_cnn()),
        "expects logits, but the student",
    ),
    "no teacher": (
        lambda: Distiller(None, small_cnn(6), [LogitsKD()]),
        "need a `teacher`",
    ),
    "two methods of one name": (
        lambda: make_distiller(methods=[LogitsKD(), LogitsKD()]),
        "Every method needs its own name",
    ),
    "not a method": (
        lambda: make_distiller(methods=["diffkd"]),
        "must be a list of keras_diffkd.DistillationMethod .*Received: str",
    ),
    "maps of different size": (
        lambda: make_distiller(
            student=small_cnn(6, strides=1), methods=[FitNet("features", "features")]
        ),
        "4x4 against 8x8.*resize",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_models_and_methods(case):
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        make()


def test_different_classes_are_fine_when_only_features_are_matched():
    distiller = make_distiller(
        teacher=small_cnn(12, classes=7), methods=[FitNet("features", "features")]
    )
    assert distiller.methods[0].projection.units == 12


def test_labels_outside_the_classes(rng):
    x, y = random_batch(rng)
    y[3] = 10
    distiller = compiled()
    with pytest.raises(ValueError, match="0 to 9.*10 classes"):
        distiller.fit(x, y, verbose=0)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    with pytest.raises(ValueError, match="^Labels must lie in 0 to 9.*t's .*classes.$"):
        distiller.fit(data, verbose=0)


def test_empty_data():
    distiller = compiled()
    with pytest.raises(ValueError, match="training data is empty"):
        distiller.fit(np.zeros((0, 8, 8, 1)), np.zeros((0,)), verbose=0)
    data = tf.data.Dataset.from_tensor_slices((np.zeros((4, 8, 8, 1)), np.zeros(4)))
    with pytest.raises(ValueError, match="training data is empty"):
        distiller.fit(data.take(0).batch(2), verbose=0)


def test_fit_before_compile():
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        make_distiller().fit(np.zeros((4, 8, 8, 1)), np.zeros(4))


def test_base_class_asks_for_what_is_missing():
    with pytest.raises(NotImplementedError, match="loss_weights"):
        _ = DistillationMethod().loss_weights
