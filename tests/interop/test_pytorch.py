"""The library against the DiffKD authors' published PyTorch module."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import DiffKD
from keras_diffkd.interop.pytorch import (
    diffkd_variables,
    load_diffkd_weights,
    to_keras_layout,
)

FOLDER = os.environ.get("DIFFKD_GOLDEN")
needs_vectors = pytest.mark.skipif(
    not FOLDER,
    reason="DIFFKD_GOLDEN is unset: it names the folder of the authors' vectors",
)


class Case:
    """One file of vectors, and our method filled with its weights."""

    def __init__(self, name, **arguments):
        with np.load(Path(FOLDER) / f"{name}.npz", allow_pickle=False) as file:
            self.vectors = dict(file)
        self.method = DiffKD(**arguments)
        self.is_vector = self.vectors["in.teacher"].shape[2] == 1
        self.method.build(self.channels_last("in.teacher").shape, self.student.shape)
        self.state_dict = {
            name[2:]: value
            for name, value in self.vectors.items()
            if name.startswith("w.")
        }
        load_diffkd_weights(self.method, self.state_dict)

    @property
    def student(self):
        return self.channels_last("in.student")

    def channels_last(self, name):
        array = self.vectors[name].transpose(0, 2, 3, 1)
        return array[:, 0, 0, :] if self.is_vector else array

    def draws(self):
        return {
            "init_noise": self.channels_last("noise.init"),
            "denoise_noise": self.channels_last("noise.denoise"),
            "timesteps": self.vectors["timesteps"].astype("int32"),
        }


CASES = {
    "diffkd_feature_autoencoder": {"latent_channels": 8},
    "diffkd_logits": {"distance": "kl"},
}


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param, **CASES[request.param])


def assert_close(ours, theirs, what, floor=0.0):
    """Within 1e-4 of the largest value: gradients have tiny entries."""
    theirs = np.asarray(theirs, "float64")
    scale = max(np.abs(theirs).max(), floor)
    np.testing.assert_allclose(
        np.asarray(ours, "float64"), theirs, atol=1e-4 * scale, rtol=1e-4, err_msg=what
    )


@needs_vectors
def test_losses_gradients_and_statistics_equal_the_authors(case):
    vectors, method = case.vectors, case.method
    variables = diffkd_variables(method)
    names = {id(v): name for name, v in variables.items() if v.trainable}

    def weighted_total(student):
        losses = method.compute_losses(
            case.channels_last("in.teacher"), student, **case.draws()
        )
        return sum(
            weight * losses[name] for name, weight in method.loss_weights.items()
        ), losses

    (total, losses), (student_gradient,), gradients = value_and_gradients(
        weighted_total, [case.student], method
    )
    gradients = {
        names[id(v)]: gradient
        for v, gradient in zip(method.trainable_variables, gradients, strict=True)
    }

    for name in method.loss_weights:
        np.testing.assert_allclose(losses[name], vectors[f"loss.{name}"], rtol=1e-4)
    np.testing.assert_allclose(total, vectors["loss.total"], rtol=1e-4)
    assert_close(student_gradient, case.channels_last("grad.in.student"), "student")
    named = {n[5:] for n in vectors if n.startswith("grad.") and n != "grad.in.student"}
    assert named == set(gradients)
    # Some gradients are zero but for float noise (a bias before a batch
    # normalization): they are judged by the size of a typical gradient.
    typical = np.median([np.abs(vectors[f"grad.{name}"]).max() for name in named])
    for name, gradient in gradients.items():
        theirs = to_keras_layout(name, vectors[f"grad.{name}"])
        assert_close(gradient, theirs, name, floor=typical / 10)
    check_statistics(case, variables)


def check_statistics(case, variables):
    batch, _, height, width = case.vectors["in.teacher"].shape
    n = batch * height * width
    compared = 0
    for name, theirs in case.vectors.items():
        if not name.startswith("after."):
            continue
        name = name.removeprefix("after.")
        ours = keras.ops.convert_to_numpy(variables[name])
        if name.endswith("running_var"):
            theirs = biased_variance(theirs, case.state_dict[name], n, name)
        assert_close(ours, theirs, name)
        compared += 1
    assert compared == sum(name.endswith(("_mean", "_var")) for name in variables)


def biased_variance(after, before, n, name):
    """Undoes PyTorch's n / (n - 1) in a moving variance.

    The denoiser moves its statistics six times a step (five sampling steps and
    the denoising loss), the other layers once; every time by a tenth.
    """
    updates = 6 if name.startswith("model.") else 1
    kept = 0.9**updates
    return kept * before + (after - kept * before) * (n - 1) / n


@needs_vectors
def test_refined_feature_equals_the_authors(case):
    refined = case.method.refine(case.student, init_noise=case.draws()["init_noise"])
    assert_close(refined, case.channels_last("out.refined"), "refined")


@needs_vectors
def test_target_equals_the_authors(case):
    teacher = case.channels_last("in.teacher")
    if case.is_vector:
        target = teacher
    else:
        target = case.method.autoencoder.encode(teacher, training=True)
    assert_close(target, case.channels_last("out.target"), "target")


def built_method(**arguments):
    method = DiffKD(**arguments)
    method.build((None, 4, 4, 16), (None, 4, 4, 8))
    return method


def state_dict_of(method):
    """The authors' state dict with our weights."""
    result = {}
    for name, variable in diffkd_variables(method).items():
        value = keras.ops.convert_to_numpy(variable)
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif name == "noise_adapter.pred.weight":
            value = value.T
        elif variable.name == "kernel":
            value = value.T[:, :, None, None]
        result[name] = value
    return result


def test_round_trip_through_the_authors_names(rng):
    source = built_method(latent_channels=8)
    target = built_method(latent_channels=8)
    state_dict = state_dict_of(source)
    state_dict["proj.1.num_batches_tracked"] = np.array(3)
    load_diffkd_weights(target, state_dict)
    assert len(diffkd_variables(source)) == len(source.weights)
    for ours, theirs in zip(source.weights, target.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_wrong_names_and_shapes_are_refused_and_nothing_is_assigned():
    method = built_method(latent_channels=8)
    before = [np.array(w) for w in method.weights]
    state_dict = {k: v + 1 for k, v in state_dict_of(method).items()}

    with pytest.raises(ValueError, match=r"Missing: \['trans.bias'\]"):
        load_diffkd_weights(
            method, {k: v for k, v in state_dict.items() if k != "trans.bias"}
        )
    with pytest.raises(ValueError, match=r"Unknown: \['extra'\]"):
        load_diffkd_weights(method, state_dict | {"extra": np.zeros(1)})
    with pytest.raises(ValueError, match="'proj.1.running_var' has the wrong shape"):
        load_diffkd_weights(method, state_dict | {"proj.1.running_var": np.zeros(5)})
    with pytest.raises(ValueError, match="must be built"):
        load_diffkd_weights(DiffKD(latent_channels=8), state_dict)
    for variable, value in zip(method.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)
