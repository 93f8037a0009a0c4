import keras
import numpy as np
import pytest
from helpers.gradients import compiled, value_and_gradients
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import DSKD, DiffKD, Distiller
from keras_diffkd.methods.labels import log_likelihood_gradient


def distiller_of(jit_compile=False, teacher=None, **arguments):
    keras.utils.set_random_seed(0)
    method = DSKD("features", "features", num_hashes=32, seed=1, **arguments)
    teacher = teacher or small_cnn(12, name="teacher")
    distiller = Distiller(teacher, small_cnn(6, name="student"), [method])
    distiller.compile(
        keras.optimizers.Adam(0.01), cross_entropy(), jit_compile=jit_compile
    )
    return distiller


def features(rng, batch=4):
    return (
        rng.normal(size=(batch, 4, 4, 12)).astype("float32"),
        rng.normal(size=(batch, 4, 4, 6)).astype("float32"),
    )


@pytest.mark.parametrize("gamma", [1.0, 0.7])
@pytest.mark.parametrize("training", [False, True])
def test_without_guidance_sampling_is_that_of_diffkd(rng, gamma, training):
    ours = DSKD(guidance_scale=0.0, gamma=gamma, num_inference_steps=3)
    theirs = DiffKD(adapt_noise=gamma < 1, num_inference_steps=3)
    for method in (ours, theirs):
        method.build((None, 4, 4, 12), (None, 4, 4, 6))
    theirs.student_projection.set_weights(ours.student_projection.get_weights())
    denoiser = theirs.diffusion.denoiser
    denoiser.set_weights(ours.diffusion.denoiser.get_weights())
    if gamma < 1:  # A noise adapter that says γ whatever it sees.
        prediction = theirs.diffusion.noise_adapter.prediction
        kernel, bias = prediction.get_weights()
        prediction.set_weights([0 * kernel, np.log([gamma, 1 - gamma])])
    # Nothing after the sampling: the identity, and (1 + ε)^(-1/2).
    theirs.output_conv.set_weights([np.eye(12), np.zeros(12)])
    teacher, student = features(rng)
    noise = rng.normal(size=(4, 4, 4, 12)).astype("float32")
    refined = ours.refine(teacher, student, init_noise=noise, training=training)
    theirs.output_bn.trainable = False
    expected = theirs.refine(student, init_noise=noise, training=training)
    np.testing.assert_allclose(
        refined, expected * np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5
    )


def test_guidance_gradient_against_finite_differences(rng):
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 5, name="features")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(5, 3, activation="tanh")(x)
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    teacher = keras.Model(image, logits)
    teacher.layers[2].set_weights(rng.uniform(0.5, 2.0, size=(4, 4)))
    distiller = distiller_of(teacher=teacher)
    (method,) = distiller.methods
    labels = np.array([3, 7])
    x = rng.normal(size=(2, 4, 4, 4)).astype("float32")
    before = [np.array(v) for v in teacher.variables]
    gradient = log_likelihood_gradient(method.teacher_head, np.zeros_like(x), labels)
    ours = np.array(compiled(gradient)(keras.ops.convert_to_tensor(x)))
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)

    gamma, beta, mean, variance = np.array(teacher.layers[2].get_weights(), "float64")
    conv, conv_bias = (w.astype("float64") for w in teacher.layers[3].get_weights())
    dense, dense_bias = (w.astype("float64") for w in teacher.layers[5].get_weights())

    def log_probability(x):
        x = (x - mean) / np.sqrt(variance + teacher.layers[2].epsilon) * gamma + beta
        patches = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
        x = np.tanh(np.einsum("bijcuv,uvcf->bijf", patches, conv) + conv_bias)
        logits = x.reshape(2, -1) @ dense + dense_bias
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return log_p[np.arange(2), labels].sum()

    expected = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-5
        rise = log_probability(x + step) - log_probability(x - step)
        expected[index] = rise / 2e-5
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)


def test_guidance_makes_the_label_likelier(rng):
    distiller = distiller_of(guidance_scale=20.0)
    (method,) = distiller.methods
    teacher, student = features(rng)
    y = np.array([1, 2, 3, 4])

    def likelihood(labels):
        refined = method.refine(teacher, student, labels, training=False)
        logits = keras.ops.log_softmax(method.teacher_head(refined))
        return np.array(logits)[np.arange(4), y].mean()

    assert likelihood(y) > likelihood(y + 1) + 0.1
    decision = np.array(method.teacher_head(teacher)).argmax(axis=1)
    np.testing.assert_allclose(likelihood(None), likelihood(decision), rtol=1e-5)
    np.testing.assert_allclose(likelihood(np.eye(10)[y]), likelihood(y), rtol=1e-5)


@pytest.mark.parametrize("source", ["student", "teacher"])
def test_where_gradients_flow(rng, source):
    distiller = distiller_of(diffusion_source=source, mse_weight=1.0)
    (method,) = distiller.methods
    teacher, student = features(rng)
    parts = method.student_projection, method.diffusion.denoiser, distiller.teacher

    def gradients_of(name):
        """Gradients to the teacher's feature, the student's, and the parts' weights."""

        def loss(teacher, student):
            return method.compute_losses(teacher, student, np.arange(4))[name]

        results = [
            value_and_gradients(loss, [teacher, student], part)[1:] for part in parts
        ]
        return *results[0][0], *(of_weights for _, of_weights in results)

    for name in ("distill", "mse"):
        to_teacher, to_student, *of_parts = gradients_of(name)
        projection, denoiser, of_teacher = of_parts
        assert all(np.any(s) for s in (to_student, *projection)), name
        # The denoised feature is a constant.
        assert not any(np.any(s) for s in (to_teacher, *denoiser, *of_teacher)), name
    to_teacher, to_student, projection, denoiser, of_teacher = gradients_of("denoise")
    constants = to_teacher, to_student, *projection, *of_teacher
    assert not any(np.any(s) for s in constants)
    assert any(np.any(s) for s in denoiser)


@pytest.mark.parametrize("normalize", [True, False])
def test_value_and_gradient_of_the_hashing_loss(rng, normalize):
    method = DSKD(
        guidance_scale=0.0,
        num_hashes=16,
        mse_weight=1.0,
        normalize_features=normalize,
    )
    method.build((None, 4, 4, 12), (None, 4, 4, 6))
    teacher, student = features(rng)
    kernel = np.array(method.student_projection.kernel, "float64")
    own = np.array(student, "float64").mean(axis=(1, 2)) @ kernel
    own += np.array(method.student_projection.bias)
    denoised = np.array(method.refine(teacher, student), "float64").mean(axis=(1, 2))
    length = np.linalg.norm(own, axis=1, keepdims=True) if normalize else 1.0
    own = own / length
    if normalize:
        denoised /= np.linalg.norm(denoised, axis=1, keepdims=True)
    directions = np.array(method.hashing.directions, "float64")
    center = np.median(denoised @ directions, axis=0)
    bits = denoised @ directions > center
    probability = 1 / (1 + np.exp(center - own @ directions))
    loss = -np.log(np.where(bits, probability, 1 - probability)).mean()
    gradient = (probability - bits) @ directions.T / bits.size
    if normalize:
        gradient = (
            gradient - own * (own * gradient).sum(axis=1, keepdims=True)
        ) / length
    gradient = gradient @ kernel.T / 16

    def distill(student):
        losses = method.compute_losses(teacher, student)
        return losses["distill"], losses

    (_, ours), (gradients,), _ = value_and_gradients(distill, [student])
    np.testing.assert_allclose(ours["distill"], loss, rtol=1e-4)
    np.testing.assert_allclose(ours["mse"], np.mean((own - denoised) ** 2), rtol=1e-4)
    expected = np.broadcast_to(gradient[:, None, None], gradients.shape)
    np.testing.assert_allclose(gradients, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit(rng, jit_compile):
    x, y = random_batch(rng, 64)
    distiller = distiller_of(jit_compile=jit_compile, num_inference_steps=2)
    before = [np.array(v) for v in distiller.teacher.variables]
    history = distiller.fit(x, y, batch_size=32, epochs=10, verbose=0).history
    for name in ("dskd/distill", "dskd/denoise", "loss"):
        assert np.all(np.isfinite(history[name]))
        assert history[name][-1] < history[name][0], name
    for variable, value in zip(distiller.teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert distiller.strip() is distiller.student


def test_mixed_precision(rng):
    keras.config.set_dtype_policy("mixed_float16")
    x, y = random_batch(rng, 64)
    distiller = distiller_of(num_inference_steps=2)
    history = distiller.fit(x, y, batch_size=32, epochs=6, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert history["dskd/denoise"][-1] < history["dskd/denoise"][0]


def token_model(width):
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(width, 2, strides=2)(image)
    x = keras.layers.Reshape((16, width), name="features")(x)
    x = keras.layers.GlobalAveragePooling1D(name="vector")(x)
    return keras.Model(image, keras.layers.Dense(10)(x))


@pytest.mark.parametrize("tap", ["features", "vector"])
def test_tokens_and_vectors(rng, tap):
    method = DSKD(tap, tap, num_hashes=16, num_inference_steps=1)
    Distiller(token_model(12), token_model(6), [method])
    grid = (16,) if tap == "features" else ()
    pair = (rng.normal(size=(2, *grid, 12)), rng.normal(size=(2, *grid, 6)))
    losses = method.compute_losses(*pair, np.array([1, 2]))
    assert all(np.isfinite(value) for value in losses.values())
    side = 4 if tap == "features" else 1
    assert method.refine(*pair).shape == (2, side, side, 12)


def test_save_and_load(rng, tmp_path):
    x, y = random_batch(rng, 32)
    distiller = distiller_of(
        num_inference_steps=2,
        gamma=0.9,
        hash_center="mean",
        diffusion_source="teacher",
        mse_weight=0.5,
    )
    distiller.fit(x, y, verbose=0)
    distiller.save(tmp_path / "run.keras")
    loaded = keras.models.load_model(tmp_path / "run.keras")
    assert loaded.methods[0].get_config() == distiller.methods[0].get_config()
    for a, b in zip(loaded.weights, distiller.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(loaded.methods[0].hashing.bias()).max() > 0
    of_teacher = {v.path for v in distiller.teacher.variables}
    assert not any(v.path in of_teacher for v in distiller.methods[0].variables)


BAD = {
    "gamma=0.0": {"gamma": 0.0},
    "diffusion_source='both'": {"diffusion_source": "both"},
    "kernel_size=5": {"kernel_size": 5},
    "num_hashes=0": {"num_hashes": 0},
    "center='mode'": {"hash_center": "mode"},
    "num_train_timesteps=2000": {"num_train_timesteps": 2000},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ValueError, match=message):
        DSKD("a", "b", **BAD[message])


def test_bad_models():
    with pytest.raises(ValueError, match="no classifier after its tap None"):
        Distiller(small_cnn(12), small_cnn(6), [DSKD()])
    with pytest.raises(ValueError, match="4x4 against 8x8"):
        Distiller(
            small_cnn(12), small_cnn(6, strides=1), [DSKD("features", "features")]
        )
    with pytest.raises(ValueError, match="teacher 7, student 10"):
        Distiller(
            small_cnn(12, classes=7), small_cnn(6), [DSKD("features", "features")]
        )
