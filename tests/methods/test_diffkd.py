import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import DiffKD

TEACHER = (None, 4, 4, 16)
STUDENT = (None, 4, 4, 8)
TOKENS, SEQUENCE = {"feature_kind": "tokens"}, {"feature_kind": "sequence"}


def features(rng, *shapes):
    return [rng.normal(size=(6, *s[1:])).astype("float32") for s in shapes]


def built(teacher=TEACHER, student=STUDENT, **arguments):
    method = DiffKD(**arguments)
    method.build(teacher, student)
    return method


def draws(rng, shape, steps=1000):
    return {
        "init_noise": rng.normal(size=shape).astype("float32"),
        "denoise_noise": rng.normal(size=shape).astype("float32"),
        "timesteps": rng.integers(0, steps, shape[0]).astype("int32"),
    }


def gradients_of(method, losses_of, teacher, student):
    """Gradients of chosen losses to the features and to the method's weights."""

    def total(*features):
        losses = method.compute_losses(*features)
        return sum(losses[name] for name in losses_of)

    _, (teacher_gradient, student_gradient), gradients = value_and_gradients(
        total, [teacher, student], method
    )
    paths = [v.path for v in method.trainable_variables]
    return teacher_gradient, student_gradient, dict(zip(paths, gradients, strict=True))


def moved(gradients, part):
    chosen = [
        g
        for path, g in gradients.items()
        if path.removeprefix("diffkd/").removeprefix("diffusion/").startswith(part)
    ]
    assert chosen, part
    return any(np.abs(g).max() > 1e-7 for g in chosen)


PARTS = ["student_projection", "noise_adapter", "denoiser", "output_conv"]


def test_gradients_reach_exactly_what_they_should(rng):
    method = built(latent_channels=8)
    teacher, student = features(rng, TEACHER, STUDENT)

    to_teacher, to_student, gradients = gradients_of(
        method, ["distill"], teacher, student
    )
    assert not np.any(to_teacher)
    assert np.abs(to_student).max() > 0
    for part in PARTS:
        assert moved(gradients, part), part
    assert not moved(gradients, "autoencoder")

    to_teacher, to_student, gradients = gradients_of(
        method, ["denoise"], teacher, student
    )
    assert not np.any(to_teacher)
    assert not np.any(to_student)
    assert moved(gradients, "denoiser")
    assert not any(moved(gradients, part) for part in PARTS if part != "denoiser")
    assert not moved(gradients, "autoencoder")

    to_teacher, to_student, gradients = gradients_of(
        method, ["reconstruct"], teacher, student
    )
    assert not np.any(to_teacher)
    assert not np.any(to_student)
    assert moved(gradients, "autoencoder")
    assert not any(moved(gradients, part) for part in PARTS)


def test_losses_and_their_weights(rng):
    method = built(
        latent_channels=8,
        distill_weight=2.0,
        denoise_weight=0.5,
        reconstruction_weight=3.0,
    )
    teacher, student = features(rng, TEACHER, STUDENT)
    losses = method.compute_losses(teacher, student)
    assert method.loss_weights == {"distill": 2.0, "denoise": 0.5, "reconstruct": 3.0}
    assert set(losses) == {*method.loss_weights, "gamma"}
    assert all(value.shape == () for value in losses.values())
    assert 0 < float(losses["gamma"]) < 1
    plain = built(student=TEACHER, adapt_noise=False)
    assert set(plain.compute_losses(teacher, teacher)) == {"distill", "denoise"}


def test_without_noise_adaptation_refining_needs_no_draw(rng):
    method = built(student=TEACHER, adapt_noise=False)
    (student,) = features(rng, TEACHER)
    np.testing.assert_array_equal(
        method.refine(student, training=False), method.refine(student, training=False)
    )
    assert not any("noise_adapter" in v.path for v in method.variables)


def test_every_call_draws_anew_and_a_seed_repeats_the_draws(rng):
    (student,) = features(rng, STUDENT)
    method = built(latent_channels=8, seed=3)
    first = np.array(method.refine(student, training=False))
    second = np.array(method.refine(student, training=False))
    assert np.abs(first - second).max() > 1e-4
    method.diffusion.seed_generator.state.assign([3, 0])
    np.testing.assert_array_equal(first, method.refine(student, training=False))


def test_tokens_are_a_square_map(rng):
    teacher, student = features(rng, TEACHER, STUDENT)
    as_maps = built(latent_channels=8)
    as_tokens = built(
        (None, 16, 16), (None, 16, 8), latent_channels=8, feature_kind="tokens"
    )
    for ours, theirs in zip(as_tokens.variables, as_maps.variables, strict=True):
        ours.assign(theirs)
    given = draws(rng, (6, 4, 4, 8))
    for name, value in as_maps.compute_losses(teacher, student, **given).items():
        tokens = as_tokens.compute_losses(
            teacher.reshape(6, 16, 16), student.reshape(6, 16, 8), **given
        )
        np.testing.assert_allclose(tokens[name], value, rtol=1e-5)


def test_vectors_use_kernel_size_one_and_come_back_as_vectors(rng):
    method = built((None, 10), (None, 10), distance="kl")
    assert method.diffusion.denoiser.kernel_size == 1
    assert built().diffusion.denoiser.kernel_size == 3
    (student,) = features(rng, (None, 10))
    assert method.refine(student).shape == (6, 10)


@pytest.mark.parametrize("distance", ["mse", "kl", "dist", "dkd"])
def test_named_distances_on_logits(rng, distance):
    method = built((None, 10), (None, 10), distance=distance, temperature=2.0)
    teacher, student = features(rng, (None, 10), (None, 10))
    losses = method.compute_losses(teacher, student, targets=rng.integers(0, 10, 6))
    assert np.isfinite(float(losses["distill"]))
    assert method.expects_logits == (distance != "mse")


def test_the_distance_compares_the_refined_feature_with_the_target(rng):
    seen = []

    def distance(target, refined):
        seen.append((np.array(target), np.array(refined)))
        return keras.ops.abs(target - refined)

    method = built(student=TEACHER, distance=distance)
    teacher, student = features(rng, TEACHER, TEACHER)
    given = draws(rng, (6, 4, 4, 16))
    losses = method.compute_losses(teacher, student, training=False, **given)
    refined = method.refine(student, given["init_noise"], training=False)
    ((target, compared),) = seen
    np.testing.assert_array_equal(target, teacher)
    np.testing.assert_allclose(compared, refined, rtol=1e-6)
    np.testing.assert_allclose(
        losses["distill"], np.abs(target - compared).mean(), rtol=1e-6
    )


def test_computes_in_float32_whatever_comes_in(rng):
    keras.config.set_dtype_policy("mixed_float16")
    method = built(latent_channels=8)
    assert all(v.dtype == "float32" for v in method.trainable_variables)
    teacher, student = features(rng, TEACHER, STUDENT)
    given = draws(rng, (6, 4, 4, 8))
    half = method.compute_losses(
        teacher.astype("float16"), student.astype("float16"), **given
    )
    dtypes = {keras.backend.standardize_dtype(value.dtype) for value in half.values()}
    assert dtypes == {"float32"}
    full = method.compute_losses(teacher, student, **given)
    for name, value in full.items():
        np.testing.assert_allclose(half[name], value, rtol=5e-3)


def test_resize_brings_the_student_to_the_teachers_grid(rng):
    method = built(TEACHER, (None, 8, 8, 8), latent_channels=8, resize="bilinear")
    teacher, student = features(rng, TEACHER, (None, 8, 8, 8))
    losses = method.compute_losses(teacher, student)
    assert np.isfinite(float(losses["distill"]))


@pytest.mark.parametrize(
    ("teacher", "student", "arguments", "message"),
    [
        (TEACHER, (None, 8, 8, 8), {}, "4x4 against 8x8.*resize"),
        ((None, 17, 16), (None, 16, 8), TOKENS, "17 tokens"),
        ((None, 16, 16), (None, 15, 8), TOKENS, "student's tokens.*15 tokens"),
        ((None, 16, 16), (None, 16, 8), {}, "layers before the tap do not tell"),
        (TEACHER, (None, 16, 8), SEQUENCE, "no positions in common"),
        ((None, 20, 16), (None, 16, 8), SEQUENCE, "length: 20 against 16.*resize"),
        (TEACHER, STUDENT, {"latent_channels": 1000}, "at most 4 times.*1000"),
        ((None, 10), (None, 10), {"latent_channels": 4}, "vectors are denoised"),
        (
            (None, 2),
            (None, 2),
            {"distance": "kl", "standardize_logits": True},
            "`standardize_logits=True` needs at least three classes.*2 classes",
        ),
        (TEACHER, STUDENT, {"latent_channels": 4}, "channels=4, reduction=8"),
        ((None, 2, 3, 4, 5), STUDENT, {}, r"map of three dimensions.*no positions"),
        ((None, 1, 2, 3, 4, 5), STUDENT, {}, r"\(None, 1, 2, 3, 4, 5\)"),
        ((None, 4, 4, None), STUDENT, {}, "known number of channels"),
    ],
)
def test_features_that_cannot_be_compared(teacher, student, arguments, message):
    with pytest.raises(ValueError, match=message):
        built(teacher, student, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_channels": 0}, "latent_channels=0"),
        ({"kernel_size": 5}, "kernel_size=5"),
        ({"num_inference_steps": 0}, "num_inference_steps=0"),
        ({"num_inference_steps": 501}, "in 1 to 500"),
        ({"num_train_timesteps": 2000}, "at most 1280"),
        ({"distance": "cosine"}, "distance='cosine'"),
        ({"temperature": 0.0}, "temperature=0.0"),
        (
            {"standardize_logits": True},
            "needs a distance of logits.*distance='mse', standardize_logits=True",
        ),
        (
            {"standardize_logits": True, "distance": keras.losses.KLDivergence()},
            "`standardize_logits=True` needs a distance of logits",
        ),
        ({"resize": "cubic"}, "resize='cubic'"),
        ({"teacher_tap": ["a", "b"]}, "lists of the same length"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        DiffKD(**arguments)


@pytest.mark.parametrize("distance", ["kl", keras.losses.Huber(delta=2.0)])
def test_config_round_trip(distance):
    method = DiffKD(
        "a",
        "b",
        latent_channels=24,
        kernel_size=1,
        num_inference_steps=3,
        num_train_timesteps=500,
        adapt_noise=False,
        distance=distance,
        temperature=2.0,
        denoise_weight=0.1,
        reconstruction_weight=0.2,
        distill_weight=0.3,
        resize="nearest",
        seed=7,
        name="mine",
    )
    serialized = keras.saving.serialize_keras_object(method)
    copy = keras.saving.deserialize_keras_object(serialized)
    assert copy.get_config() == method.get_config()
    assert copy.name == "mine"
    assert type(copy.distance) is type(distance)
