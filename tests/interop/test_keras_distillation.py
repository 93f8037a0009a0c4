"""Losses of keras.distillation as methods."""

import warnings

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import Distiller, LogitsKD
from keras_diffkd.interop.keras_distillation import KerasDistillation, as_methods


@keras.saving.register_keras_serializable(package="tests")
class MeanMatching(keras.distillation.DistillationLoss):
    """A user's own loss."""

    def __init__(self, power=2):
        self.power = power

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        gap = keras.ops.mean(teacher_outputs) - keras.ops.mean(student_outputs)
        return gap**self.power

    def get_config(self):
        return {"power": self.power}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def divergence(temperature=3.0):
    return keras.distillation.LogitsDistillation(
        temperature=temperature, loss=keras.losses.KLDivergence()
    )


def feature_loss():
    return keras.distillation.FeatureDistillation(
        teacher_layer_name="features", student_layer_name="features"
    )


def test_losses_of_keras_train_in_our_distiller(rng, tmp_path):
    x, y = random_batch(rng)
    keras.utils.set_random_seed(0)
    distiller = Distiller(
        small_cnn(8),
        small_cnn(8),
        [divergence(), feature_loss(), MeanMatching(4), divergence(2.0), LogitsKD()],
    )
    names = [method.name for method in distiller.methods]
    assert names == [
        "logits_distillation",
        "feature_distillation",
        "mean_matching",
        "logits_distillation_1",
        "kd",
    ]
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    history = distiller.fit(x, y, epochs=15, verbose=0).history
    for name in ("logits_distillation", "feature_distillation"):
        losses = history[f"{name}/distill"]
        assert 0 < losses[-1] < losses[0]

    distiller.save(tmp_path / "run.keras")
    loaded = keras.models.load_model(tmp_path / "run.keras")
    loaded.attach_teacher(distiller.teacher)
    assert [m.get_config() for m in loaded.methods] == [
        m.get_config() for m in distiller.methods
    ]
    ours, _ = distiller.compute_training_losses(x, y, training=False)
    theirs, _ = loaded.compute_training_losses(x, y, training=False)
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, rtol=1e-5, err_msg=name)


def test_values_are_those_of_keras(rng):
    teacher, student = keras.ops.convert_to_tensor(
        rng.normal(size=(2, 6, 4)).astype("float32")
    )
    for loss in (divergence(), MeanMatching()):
        ours = KerasDistillation(loss).compute_losses(teacher, student)["distill"]
        np.testing.assert_allclose(ours, loss.compute_loss(teacher, student), rtol=1e-6)
    kd = LogitsKD(temperature=3.0).compute_losses(teacher, student)["distill"]
    wrapped = KerasDistillation(divergence(3.0)).compute_losses(teacher, student)
    np.testing.assert_allclose(wrapped["distill"], kd, rtol=1e-4)


def test_a_feature_may_be_any_tap(rng):
    inner = small_cnn(8, name="inner")
    image = keras.Input((8, 8, 1))
    student = keras.Model(image, inner(image))
    loss = keras.distillation.FeatureDistillation(
        teacher_layer_name="features", student_layer_name="inner/features"
    )
    distiller = Distiller(small_cnn(8), student, [loss])
    distiller.compile("sgd", cross_entropy())
    losses, _ = distiller.compute_training_losses(*random_batch(rng))
    assert float(losses["feature_distillation/distill"]) > 0


def test_weight_and_name():
    method = KerasDistillation(divergence(), weight=0.3, name="mine")
    assert method.loss_weights == {"distill": 0.3}
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(method)
    )
    assert copy.get_config() == method.get_config()
    assert as_methods([method])[0] is method


def test_the_default_that_is_no_divergence_is_warned_of():
    with pytest.warns(UserWarning, match="to the logits, not to probabilities"):
        Distiller(small_cnn(8), small_cnn(8), [keras.distillation.LogitsDistillation()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KerasDistillation(divergence())


def test_other_things_are_refused():
    with pytest.raises(ValueError, match="DistillationLoss. Received: MeanSquared"):
        KerasDistillation(keras.losses.MeanSquaredError())
    with pytest.raises(ValueError, match="Received: MeanSquaredError"):
        Distiller(small_cnn(8), small_cnn(8), [keras.losses.MeanSquaredError()])
