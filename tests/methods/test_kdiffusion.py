import keras
import numpy as np
import pytest
from helpers.gradients import compiled, value_and_gradients
from helpers.small_models import (
    SubclassedCNN,
    cross_entropy,
    random_batch,
    small_cnn,
    weights_of,
)

from keras_diffkd import Distiller, FitNet, KDiffusion
from keras_diffkd.diffusion.noise import normal_noise
from keras_diffkd.layers import ReparameterizedConv2D


def student_cnn(conv=None, dropout=0.1):
    """A student whose last convolution is called `conv`."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(5, 3, strides=2, padding="same")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(dropout, seed=3)(keras.layers.ReLU()(x))
    conv = {"use_bias": False, "padding": "same", **(conv or {})}
    x = keras.layers.Conv2D(6, 3, name="conv", **conv)(x)
    x = keras.layers.ReLU(name="features")(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(10, name="logits")(x)
    return keras.Model(image, logits, name="student")


def distiller_of(student, tap="conv", jit_compile=False, optimizer=None, **arguments):
    keras.utils.set_random_seed(0)
    teacher = small_cnn(12, name="teacher")
    method = KDiffusion("features", tap, seed=1, **arguments)
    distiller = Distiller(teacher, student, [method])
    distiller.compile(
        optimizer or keras.optimizers.Adam(0.01),
        cross_entropy(),
        jit_compile=jit_compile,
    )
    return distiller


def sequential():
    return keras.Sequential(
        [
            keras.layers.Conv2D(5, 3, strides=2, padding="same"),
            keras.layers.Conv2D(6, 1, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def built_sequential():
    model = sequential()
    model.build((None, 8, 8, 1))
    return model


def nested():
    """The convolution in a model in a model, used beside frozen and other parts."""
    inner = keras.Sequential(
        [
            keras.Input((4, 4, 5)),
            keras.layers.Conv2D(6, 3, padding="same", name="conv"),
            keras.layers.BatchNormalization(),
        ],
        name="block",
    )
    image = keras.Input((8, 8, 1), name="pixels")
    x = keras.layers.Conv2D(5, 2, strides=2, trainable=False)(image)
    body = keras.Model(image, inner(x), name="body")
    inputs = {"image": keras.Input((8, 8, 1), name="image")}
    scaled = keras.ops.multiply(inputs["image"], 0.5)
    x = keras.layers.Flatten()(body(scaled, training=False))
    other = keras.Sequential([keras.Input((96,)), keras.layers.Dense(10)], name="top")
    return keras.Model(inputs, {"logits": other(x)}, name="outer")


STUDENTS = {
    "no bias": (student_cnn, "conv"),
    "bias": (lambda: student_cnn({"use_bias": True}), "conv"),
    "sequential": (built_sequential, "conv"),
    "nested": (nested, "body/block/conv"),
}


@pytest.mark.parametrize("kind", STUDENTS)
def test_prepared_and_folded_students(rng, kind):
    make, tap = STUDENTS[kind]
    student = make()
    before, config = weights_of(student), student.get_config()
    method = KDiffusion("features", tap, num_branches=3)
    branched = method.prepare_student(student)
    x = rng.normal(size=(4, 8, 8, 1)).astype("float32")
    x = {"image": x} if kind == "nested" else x
    leaves = keras.tree.flatten

    assert any(type(l) is ReparameterizedConv2D for l in branched._flatten_layers())  # noqa: E741
    for a, b in zip(
        leaves(student(x, training=False)),
        leaves(branched(x, training=False)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for variable in branched.trainable_variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    for variable in branched.variables:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.5, 2.0, variable.shape))

    folded = method.fold_student(branched)
    for a, b in zip(
        leaves(folded(x, training=False)),
        leaves(branched(x, training=False)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert folded.get_config() == config
    assert type(folded) is type(student)
    described = [
        [(w.name, w.shape, w.dtype, w.trainable) for w in model.weights]
        for model in (student, folded)
    ]
    assert described[0] == described[1]

    assert student.get_config() == config
    for a, b in zip(weights_of(student), before, strict=True):
        np.testing.assert_array_equal(a, b)
    mine = {id(v) for v in student.variables}
    assert not any(id(v) in mine for v in (*branched.variables, *folded.variables))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_strip_and_fit_on(rng, jit_compile):
    x, y = random_batch(rng, 64)
    student = student_cnn()
    given = weights_of(student)
    distiller = distiller_of(student, jit_compile=jit_compile)
    first = distiller.fit(x, y, batch_size=32, epochs=8, verbose=0).history
    for name in ("kdiffusion/distill", "kdiffusion/guidance", "loss"):
        assert np.all(np.isfinite(first[name]))
        assert first[name][-1] < first[name][0], name

    stripped = distiller.strip()
    expected = np.array(distiller(x, training=False))
    np.testing.assert_allclose(stripped(x, training=False), expected, 1e-5, 1e-5)
    assert stripped.get_config() == student.get_config()
    frozen = weights_of(stripped)
    more = distiller.fit(x, y, batch_size=32, epochs=2, verbose=0).history
    assert more["loss"][-1] < first["loss"][0]
    again = distiller.strip()
    assert again is not stripped
    np.testing.assert_allclose(
        again(x, training=False), distiller(x, training=False), 1e-5, 1e-5
    )
    for a, b in zip(weights_of(stripped), frozen, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(weights_of(student), given, strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision(rng):
    keras.config.set_dtype_policy("mixed_float16")
    x, y = random_batch(rng, 64)
    student = student_cnn()
    distiller = distiller_of(student)
    history = distiller.fit(x, y, batch_size=32, epochs=6, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert history["kdiffusion/distill"][-1] < history["kdiffusion/distill"][0]
    stripped = distiller.strip()
    assert stripped.get_config() == student.get_config()
    assert stripped.compute_dtype == "float16"
    np.testing.assert_allclose(
        stripped(x, training=False), distiller(x, training=False), rtol=0.02, atol=0.02
    )


def test_save_and_load_in_the_middle(rng, tmp_path):
    x, y = random_batch(rng, 64)
    distiller = distiller_of(student_cnn(dropout=0.0), num_branches=2)
    distiller.fit(x, y, batch_size=32, verbose=0)
    distiller.save(tmp_path / "run.keras")
    loaded = keras.models.load_model(tmp_path / "run.keras")
    assert loaded.methods[0].get_config() == distiller.methods[0].get_config()
    for a, b in zip(loaded.weights, distiller.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(
        loaded.strip()(x, training=False), distiller(x, training=False), 1e-5, 1e-5
    )
    loaded.attach_teacher(distiller.teacher)
    # Files of Keras do not say where the random numbers have got to.
    loaded.methods[0].seed_generator.state.assign(
        distiller.methods[0].seed_generator.state
    )
    logs = [
        m.fit(x, y, batch_size=32, shuffle=False, verbose=0).history
        for m in (distiller, loaded)
    ]
    for name, values in logs[0].items():
        np.testing.assert_allclose(logs[1][name], values, rtol=1e-4, err_msg=name)


def built_method(**arguments):
    method = KDiffusion(
        "features", "conv", num_branches=3, guidance_weight=0.0, seed=4, **arguments
    )
    method.build((None, 4, 4, 7), [(None, 4, 4, 5)] * 4)
    return method


def drawn(method):
    """The levels and the noise that the method draws next."""
    state = keras.random.SeedGenerator()
    state.state.assign(method.seed_generator.state)
    timesteps = keras.ops.array(method.timesteps)
    if method.shuffle:
        timesteps = keras.random.shuffle(timesteps, seed=state)
    noise = normal_noise((2, 4, 4, 7), state)
    return np.array(timesteps), np.array(noise, "float64")


@pytest.mark.parametrize("shuffle", [True, False])
def test_value_and_gradient(rng, shuffle):
    method = built_method(shuffle=shuffle)
    teacher = rng.normal(size=(2, 4, 4, 7))
    features = rng.normal(size=(4, 2, 4, 4, 5))
    kernel = np.array(method.bridge.kernel, "float64")
    timesteps, noise = drawn(method)
    alphas = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    assert sorted(timesteps) == [0, 166, 332]
    gaps = []
    for t, feature in zip(timesteps, features[:3], strict=True):
        target = np.sqrt(alphas[t]) * teacher + np.sqrt(1 - alphas[t]) * noise
        gaps.append(feature @ kernel + np.array(method.bridge.bias) - target)
    loss = np.mean([np.mean(gap**2) for gap in gaps])
    gradient = 2 * np.array(gaps) @ kernel.T / np.array(gaps).size

    ours, (of_teacher, *of_features), _ = value_and_gradients(
        lambda teacher, *features: method.compute_losses(teacher, features)["distill"],
        [f.astype("float32") for f in (teacher, *features)],
        method,
    )
    np.testing.assert_allclose(ours, loss, rtol=1e-5)
    assert not np.any(of_teacher)
    np.testing.assert_allclose(of_features[:3], gradient, rtol=1e-3, atol=1e-6)
    assert not np.any(of_features[3])


def test_levels_change_branches_from_step_to_step():
    method = built_method()
    step = method._noisy
    if keras.backend.backend() == "tensorflow":
        step = compiled(lambda x: method._noisy(x))
    feature = 1e6 * keras.ops.ones((1, 2, 2, 1))  # The noise is nothing beside it.
    alphas = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    levels = 1e6 * np.sqrt(alphas[[0, 166, 332]])
    orders = set()
    for _ in range(30):
        signal = np.array(step(feature)).mean(axis=(1, 2, 3, 4))
        order = tuple(int(np.abs(levels - s).argmin()) for s in signal)
        assert sorted(order) == [0, 1, 2]
        orders.add(order)
    assert len(orders) > 3


@pytest.mark.parametrize("labels", ["integers", "one-hot", "none"])
def test_guidance_is_the_teachers_cross_entropy(rng, labels):
    distiller = distiller_of(student_cnn())
    (method,) = distiller.methods
    teacher = rng.normal(size=(3, 4, 4, 12)).astype("float32")
    student = [rng.normal(size=(3, 4, 4, 6)).astype("float32") for _ in range(5)]
    dense = distiller.teacher.get_layer("logits")
    bridged = np.array(method.bridge(student[-1]))
    logits = np.array(dense(bridged.mean(axis=(1, 2))), "float64")
    y = rng.integers(0, 10, 3)
    given = {"integers": y[:, None], "one-hot": np.eye(10)[y], "none": None}[labels]
    if labels == "none":
        y = np.array(dense(teacher.mean(axis=(1, 2)))).argmax(axis=1)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    ours = method.compute_losses(teacher, student, targets=given)["guidance"]
    np.testing.assert_allclose(ours, -log_p[np.arange(3), y].mean(), rtol=1e-5)
    with pytest.raises(ValueError, match=r"class labels .*Received: shape \(3, 4, 4\)"):
        method.compute_losses(teacher, student, targets=np.zeros((3, 4, 4)))


def test_beside_another_method_on_the_same_layer(rng):
    x, y = random_batch(rng, 32)
    methods = [
        KDiffusion("features", "conv", num_branches=2, resize="bilinear"),
        FitNet("features", "conv"),
    ]
    student = student_cnn()
    distiller = Distiller(small_cnn(12), student, methods)
    distiller.compile(keras.optimizers.Adam(0.01), cross_entropy())
    history = distiller.fit(x, y, epochs=10, verbose=0).history
    assert history["fitnet/distill"][-1] < history["fitnet/distill"][0]
    assert distiller.strip().get_config() == student.get_config()


def built_subclassed():
    model = SubclassedCNN()
    model(np.zeros((1, 8, 8, 1)))
    return model


def functional_subclass():
    class Own(keras.Model):
        def __init__(self, width):
            base = small_cnn(width)
            super().__init__(base.input, base.output)

    return Own(6)


def depthwise():
    image = keras.Input((8, 8, 1))
    x = keras.layers.DepthwiseConv2D(3, name="conv")(image)
    return keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(x)))


BAD = {
    "not a convolution": (
        student_cnn,
        "features",
        "^KDiffusion .* plain Conv2D.*a ReLU",
    ),
    "depthwise": (depthwise, "conv", "plain Conv2D.*a DepthwiseConv2D"),
    "unknown": (student_cnn, "konv", "no layer 'konv'.*'conv'"),
    "constraint": (
        lambda: student_cnn({"kernel_constraint": "non_neg"}),
        "conv",
        "constraints on its weights",
    ),
    "subclassed": (built_subclassed, "body/conv2d", "rebuild.*SubclassedCNN"),
    "functional subclass": (functional_subclass, "conv2d", "rebuild.*Own 'own'"),
}


@pytest.mark.parametrize("case", BAD)
def test_students_that_cannot_be_branched(case):
    make, tap, message = BAD[case]
    student = make()
    with pytest.raises(ValueError, match=message):
        Distiller(small_cnn(12), student, [KDiffusion("features", tap)])


def test_bad_arguments():
    with pytest.raises(ValueError, match="`student_tap` must be the name"):
        KDiffusion("features")
    with pytest.raises(ValueError, match="num_branches=0"):
        KDiffusion("features", "conv", num_branches=0)
    with pytest.raises(ValueError, match="compares one feature"):
        KDiffusion("features", ["conv", "conv2"])
    with pytest.raises(ValueError, match="no classifier after its tap None"):
        Distiller(
            small_cnn(12), student_cnn(), [KDiffusion(None, "conv", resize="nearest")]
        )
