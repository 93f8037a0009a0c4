"""A method that needs labels gets those of the output that it compares."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy

from keras_diffkd import DKD, DSKD, DiffKD, Distiller, losses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 6)).astype("float32")
KIND, SIZE = RNG.integers(0, 3, 16), X[:, :1]


def network(kind):
    vector = keras.Input((6,))
    x = keras.layers.Dense(4, activation="relu", name="features")(vector)
    # The size comes first, so that no one finds the labels by chance.
    outputs = {
        "size": keras.layers.Dense(1, name="size")(x),
        "kind": keras.layers.Dense(3, name="kind")(x),
    }
    outputs = {
        "dict": outputs,
        "list": list(outputs.values()),
        "one": outputs["kind"],
        "dict of one": {"kind": outputs["kind"]},
    }[kind]
    return keras.Model(vector, outputs)


def compiled(method, teacher="dict", student="dict"):
    made = Distiller(network(teacher), network(student), [method])
    loss = {"size": "mse", "kind": cross_entropy()}
    if student == "dict of one":
        del loss["size"]
    made.compile("sgd", loss)
    return made


@pytest.mark.parametrize(
    ("kind", "tap", "y"),
    [
        ("dict", ":kind", {"kind": KIND, "size": SIZE}),
        ("dict", "kind", {"kind": KIND, "size": SIZE}),
        ("list", "kind", {"kind": KIND, "size": SIZE}),
        ("list", "kind", [SIZE, KIND]),
        ("dict of one", ":kind", {"kind": KIND}),
    ],
)
def test_dkd_of_one_output(kind, tap, y):
    made = compiled(DKD(tap, tap), kind, kind)
    of_both = [model(X) for model in (made.teacher, made.student)]
    index = 1 if kind == "list" else "kind"
    expected = losses.dkd(*(outputs[index] for outputs in of_both), KIND)
    if tap == ":kind" and kind == "dict":
        found = made.fit(X, y, batch_size=16, verbose=0).history["dkd/distill"][0]
    else:  # The same without a trace.
        found = made.compute_training_losses(X, y)[0]["dkd/distill"]
    np.testing.assert_allclose(float(found), float(expected), rtol=1e-4)


def test_diffkd_of_one_output():
    method = DiffKD(":kind", ":kind", distance="dkd", num_inference_steps=1)
    y = {"kind": KIND, "size": SIZE}
    found, _ = compiled(method).compute_training_losses(X, y)
    assert np.isfinite(float(found["diffkd/distill"]))


def test_guidance_before_the_only_output():
    method = DSKD("features", "features", num_inference_steps=1)
    made = compiled(method, "one", "dict of one")
    found, _ = made.compute_training_losses(X, {"kind": KIND})
    assert np.isfinite(float(found["dskd/distill"]))


@pytest.mark.parametrize(
    "method",
    [
        lambda: DSKD("features", "features", num_inference_steps=1),
        lambda: DiffKD("features", "features", distance="dkd", num_inference_steps=1),
    ],
)
@pytest.mark.parametrize("student", ["dict", "list"])
def test_labels_of_features_before_several_outputs_are_unknown(method, student):
    made = compiled(method(), "one", student)
    with pytest.raises(ValueError, match="unknown which of several targets"):
        made.compute_training_losses(X, {"kind": KIND, "size": SIZE})
