"""The whole of DiffKD, number by number, against the NumPy reference."""

import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients
from reference import diffkd_numpy as reference
from reference.keras_side import layers_with_weights, randomize, read_units

from keras_diffkd import DiffKD

MAP = (3, 3, 3, 12), (3, 3, 3, 5)  # The teacher's feature, the student's.
SEQUENCE = (3, 5, 12), (3, 5, 4)
LOGITS = (4, 6), (4, 6)
# How much of the largest gradient an error may be. On PyTorch, Keras computes variances
# as E[x^2] - E[x]^2, which cancels.
SHARE = 5e-3 if keras.backend.backend() == "torch" else 1e-4
LABELS = np.array([0, 5, 2, 2])

CASES = {
    "map": (MAP, {}),
    "map, autoencoder": (MAP, {"latent_channels": 8}),
    "map, autoencoder, two steps": (
        MAP,
        {"latent_channels": 8, "num_inference_steps": 2},
    ),
    "map, no noise matching": (MAP, {"adapt_noise": False, "num_inference_steps": 1}),
    "map, kernel size 1": (MAP, {"kernel_size": 1}),
    "sequence": (SEQUENCE, {"feature_kind": "sequence", "num_inference_steps": 2}),
    "sequence, autoencoder": (
        SEQUENCE,
        {"feature_kind": "sequence", "latent_channels": 8, "num_inference_steps": 2},
    ),
    "logits, kl": (LOGITS, {"distance": "kl"}),
    "logits, warm kl": (LOGITS, {"distance": "kl", "temperature": 3.0}),
    "logits, dist": (LOGITS, {"distance": "dist", "temperature": 2.0}),
    "logits, standardized": (
        LOGITS,
        {"distance": "kl", "temperature": 2.0, "standardize_logits": True},
    ),
    "logits, dkd": (LOGITS, {"distance": "dkd", "temperature": 4.0}),
}


class Run:
    """A method with random weights and one step's input, for both sides."""

    def __init__(self, shapes, arguments):
        rng = np.random.default_rng(0)
        self.teacher, self.student = (
            rng.normal(size=shape).astype("float32") for shape in shapes
        )
        self.method = DiffKD(**arguments)
        self.method.build(*shapes)
        randomize(self.method)
        self.parts = {
            "projection": [self.method.student_projection],
            "denoiser": [self.method.diffusion.denoiser],
            "output": [self.method.output_conv, self.method.output_bn],
            "noise_adapter": None,
            "autoencoder": None,
        }
        if arguments.get("adapt_noise", True):
            self.parts["noise_adapter"] = [self.method.diffusion.noise_adapter]
        if "latent_channels" in arguments:
            self.parts["autoencoder"] = [self.method.autoencoder]
        self.units = {k: v and read_units(*v) for k, v in self.parts.items()}
        self.arguments = arguments
        latent = arguments.get("latent_channels", shapes[0][-1])
        grid = (1, 1) if len(shapes[0]) == 2 else shapes[0][1:-1]
        shape = (len(self.teacher), *grid, latent)
        self.draws = {
            "init_noise": rng.normal(size=shape).astype("float32"),
            "denoise_noise": rng.normal(size=shape).astype("float32"),
            "timesteps": rng.integers(0, 1000, len(self.teacher)).astype("int32"),
        }

    def library(self, student, **kwargs):
        return self.method.compute_losses(
            self.teacher, student, targets=LABELS, **self.draws, **kwargs
        )

    def total(self, student):
        losses = self.library(student)
        return _total(losses), losses

    def expected(self, units, student=None):
        """The reference's losses; moves the statistics in `units`."""
        student = self.student if student is None else student
        is_vector = self.teacher.ndim == 2
        teacher = self.teacher[:, None, None] if is_vector else self.teacher
        return reference.diffkd(
            units,
            teacher,
            student[:, None, None] if is_vector else student,
            self.draws,
            distance=self._distance,
            num_steps=self.arguments.get("num_inference_steps", 5),
            kernel_size=self.arguments.get("kernel_size", 1 if is_vector else 3),
        )

    def copy_units(self):
        return {k: v and v.copy() for k, v in self.units.items()}

    def _distance(self, target, refined):
        temperature = self.arguments.get("temperature", 1.0)
        name = self.arguments.get("distance", "mse")
        if name == "mse":
            return reference.mean_squared_error(target, refined)
        target, refined = target[:, 0, 0], refined[:, 0, 0]
        if self.arguments.get("standardize_logits"):
            target, refined = map(reference.standardized, (target, refined))
        if name == "kl":
            return reference.kl_divergence(target, refined, temperature)
        if name == "dist":
            return reference.dist(target, refined, temperature=temperature)
        return reference.dkd(target, refined, LABELS, temperature=temperature)


@pytest.fixture(params=CASES)
def run(request):
    return Run(*CASES[request.param])


def _total(losses):
    return sum(losses.get(k, 0.0) for k in ("distill", "denoise", "reconstruct"))


def test_losses_statistics_and_gradient(run):
    (_, losses), (actual_gradient,), _ = value_and_gradients(
        run.total, [run.student], run.method
    )

    after = run.copy_units()
    expected = run.expected(after)
    assert set(losses) - {"gamma"} == set(expected) - {"target", "refined"}
    for name in set(losses) - {"gamma"}:
        assert float(losses[name]) == pytest.approx(expected[name], rel=1e-4), name
    for part, layers in run.parts.items():
        if layers is None:
            continue
        for new, old in zip(read_units(*layers).units, after[part].units, strict=True):
            for name, value in new.items():
                np.testing.assert_allclose(value, old[name], rtol=1e-4, atol=1e-4)

    gradient = reference.gradient(
        lambda student: _total(run.expected(run.copy_units(), student)), run.student
    )
    np.testing.assert_allclose(
        actual_gradient, gradient, rtol=1e-3, atol=SHARE * np.abs(gradient).max()
    )


def test_refined_feature(run):
    refined = run.method.refine(run.student, init_noise=run.draws["init_noise"])
    expected = run.expected(run.copy_units())["refined"].reshape(refined.shape)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(refined, expected, rtol=1e-4, atol=1e-4 * scale)


def test_gamma_is_the_mean_of_the_noise_matching_weight():
    run = Run(*CASES["map"])
    gamma = run.library(run.student)["gamma"]
    projected = reference.dense(run.units["projection"].units[0], run.student)
    expected = run.units["noise_adapter"].run(
        reference.noise_adapter, projected, 3, True
    )
    assert float(gamma) == pytest.approx(expected.mean(), rel=1e-4)


@pytest.mark.parametrize("case", ["map, autoencoder, two steps", "logits, kl"])
def test_gradients_of_all_weights(case):
    run = Run(*CASES[case])
    layers = {
        part: [x for layer in layers or [] for x in layers_with_weights(layer)]
        for part, layers in run.parts.items()
    }
    _, _, gradients = value_and_gradients(run.total, [run.student], run.method)
    gradients = {
        id(variable): gradient
        for variable, gradient in zip(
            run.method.trainable_variables, gradients, strict=True
        )
    }
    weights = [
        (part, position, variable)
        for part, units in layers.items()
        for position, layer in enumerate(units)
        for variable in layer.trainable_weights
        if variable.name != "embeddings"
    ]
    actual = [gradients[id(variable)] for *_, variable in weights]

    def loss_of(part, position, name):
        def loss(value):
            units = run.copy_units()
            units[part].units[position][name] = value
            losses = run.expected(units)
            # Nothing but the reconstruction reaches the autoencoder.
            return losses["reconstruct"] if part == "autoencoder" else _total(losses)

        return loss

    expected = [
        reference.gradient(
            loss_of(part, position, variable.name),
            run.units[part].units[position][variable.name],
        )
        for part, position, variable in weights
    ]
    largest = max(np.abs(g).max() for g in expected)
    for (part, position, variable), a, e in zip(weights, actual, expected, strict=True):
        np.testing.assert_allclose(
            a,
            e,
            rtol=1e-3,
            atol=SHARE * largest,
            err_msg=f"{part}, layer {position}, {variable.name}",
        )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
@pytest.mark.parametrize("case", ["map, autoencoder", "logits, warm kl"])
def test_losses_of_half_precision_features(case, policy):
    keras.config.set_dtype_policy(policy)
    run = Run(*CASES[case])
    dtype = policy.removeprefix("mixed_")
    halves = [keras.ops.cast(3 * f, dtype) for f in (run.teacher, run.student)]
    actual = run.method.compute_losses(*halves, targets=LABELS, **run.draws)
    # What was rounded is exact in float32.
    run.teacher, run.student = (
        keras.ops.convert_to_numpy(keras.ops.cast(f, "float32")) for f in halves
    )
    expected = run.expected(run.copy_units())
    for name in set(actual) - {"gamma"}:
        np.testing.assert_allclose(
            actual[name], expected[name], rtol=1e-4, err_msg=name
        )
