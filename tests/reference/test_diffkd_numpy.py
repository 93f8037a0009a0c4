"""The reference itself: against closed forms, and against the authors' vectors."""

import os
from pathlib import Path

import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.diffkd_numpy import Units

FOLDER = os.environ.get("DIFFKD_GOLDEN")
BOTTLENECK = [f"block.{i}" for i in (0, 1, 3, 4, 6, 7)]

# The authors' names of the layers, in the order in which they run.
FEATURE_LAYERS = {
    "autoencoder": ["ae.encoder.0", "ae.encoder.1", "ae.decoder.0"],
    "projection": ["trans"],
    "noise_adapter": [f"noise_adapter.feat.0.{x}" for x in BOTTLENECK]
    + ["noise_adapter.pred"],
    "denoiser": ["model.time_embedding"]
    + [f"model.pred.{i}.{x}" for i in (0, 1) for x in BOTTLENECK]
    + ["model.pred.2", "model.pred.3"],
    "output": ["proj.0", "proj.1"],
}
LOGITS_LAYERS = {
    "autoencoder": None,
    "projection": ["trans"],
    "noise_adapter": [f"noise_adapter.feat.{i}" for i in (0, 1, 3, 4)]
    + ["noise_adapter.pred"],
    "denoiser": ["model.time_embedding"]
    + [f"model.pred.{i}" for i in (0, 1, 3, 4, 5, 6, 8)],
    "output": ["proj.0", "proj.1"],
}


def test_complex_step_gradient():
    x = np.random.default_rng(0).normal(size=(3, 4))
    result = reference.gradient(lambda x: (np.exp(x) * x**2).sum(), x)
    np.testing.assert_allclose(result, np.exp(x) * (x**2 + 2 * x), rtol=1e-14)


def test_a_layer_that_does_not_run_is_noticed():
    with pytest.raises(AssertionError, match="1 layers did not run"):
        Units([{}, {}]).run(lambda layers: next(layers))


def test_convolution_against_its_definition():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(1, 3, 4, 2)), rng.normal(size=(3, 3, 2, 5))
    y = reference.conv3({"kernel": kernel, "bias": np.arange(5.0)}, x)
    corner = sum(x[0, i, j] @ kernel[i + 1, j + 1] for i in (0, 1) for j in (0, 1))
    np.testing.assert_allclose(y[0, 0, 0], corner + np.arange(5.0))


def _unit(vectors, name):
    """One of the authors' layers, in Keras's names and layout."""
    weight = vectors[f"w.{name}.weight"]
    if name.endswith("time_embedding"):
        return {"embeddings": weight}
    bias = vectors[f"w.{name}.bias"]
    if f"w.{name}.running_mean" not in vectors:
        return {"kernel": weight.transpose(*range(weight.ndim)[2:], 1, 0), "bias": bias}
    return {
        "gamma": weight,
        "beta": bias,
        "moving_mean": vectors[f"w.{name}.running_mean"],
        "moving_variance": vectors[f"w.{name}.running_var"],
    }


@pytest.mark.skipif(
    not FOLDER,
    reason="DIFFKD_GOLDEN is unset: it names the folder of the authors' vectors",
)
@pytest.mark.parametrize(
    ("file", "layers", "distance", "kernel_size"),
    [
        (
            "diffkd_feature_autoencoder.npz",
            FEATURE_LAYERS,
            reference.mean_squared_error,
            3,
        ),
        ("diffkd_logits.npz", LOGITS_LAYERS, reference.kl_divergence, 1),
    ],
)
def test_against_the_authors(file, layers, distance, kernel_size):
    with np.load(Path(FOLDER) / file) as data:
        vectors = dict(data)
    units = {
        part: names and Units([_unit(vectors, name) for name in names])
        for part, names in layers.items()
    }

    def channels_last(name):
        return vectors[name].transpose(0, 2, 3, 1)

    draws = {
        "init_noise": channels_last("noise.init"),
        "denoise_noise": channels_last("noise.denoise"),
        "timesteps": vectors["timesteps"],
    }

    def step(student, units):
        return reference.diffkd(
            units,
            channels_last("in.teacher"),
            student,
            draws,
            distance=distance,
            kernel_size=kernel_size,
        )

    def total(student):
        copies = {k: v and v.copy() for k, v in units.items()}
        result = step(student, copies)
        return sum(result.get(k, 0.0) for k in ("distill", "denoise", "reconstruct"))

    student = channels_last("in.student")
    gradient, theirs = (
        reference.gradient(total, student),
        channels_last("grad.in.student"),
    )
    np.testing.assert_allclose(gradient, theirs, atol=2e-6 * np.abs(theirs).max())
    result = step(student, units)
    for name in ("target", "refined"):
        np.testing.assert_allclose(
            result[name], channels_last(f"out.{name}"), rtol=1e-5, atol=1e-5
        )
    for name in ("distill", "denoise", "reconstruct"):
        if name in result:
            np.testing.assert_allclose(result[name], vectors[f"loss.{name}"], rtol=1e-6)
    means = 0
    for part, names in layers.items():
        for position, name in enumerate(names or []):
            unit = units[part].units[position]
            if "moving_mean" in unit:
                after = vectors[f"after.{name}.running_mean"]
                np.testing.assert_allclose(
                    unit["moving_mean"], after, rtol=1e-4, atol=1e-6
                )
                means += 1
    assert means == sum(
        name.startswith("after.") and name.endswith("running_mean") for name in vectors
    )
