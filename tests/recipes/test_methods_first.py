"""--method_epochs: the methods' own layers train before the student."""

import keras
import numpy as np
import pytest
from helpers.digit_networks import network, read_weights

from keras_diffkd.recipes import methods_first, training
from keras_diffkd.recipes.run.experiment import read_flags

DIFFKD = "--method=diffkd_features", "--latent_channels=8", "--save_every=1"
FIRST = *DIFFKD, "--method_epochs=1"


@pytest.fixture
def fits(monkeypatch):
    """Weights of student and methods before and after each `fit` of a distiller."""
    fits, fit = [], training.Distiller.fit

    def weights(distiller):
        return [
            [np.array(variable) for variable in variables]
            for variables in (
                distiller.student.variables,
                distiller.methods[0].trainable_variables,
            )
        ]

    def recorded(distiller, *args, **kwargs):
        before = weights(distiller)
        rate = float(distiller.optimizer.learning_rate)
        fit(distiller, *args, **kwargs)
        fits.append((before, weights(distiller), rate))

    monkeypatch.setattr(training.Distiller, "fit", recorded)
    return fits


def are_equal(ours, theirs):
    return all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=True))


def test_the_student_stands_still_while_methods_learn(distil, tmp_path, fits):
    distil(*FIRST, "--learning_rate=0.03")
    (before, after, rate), (start, end, _) = fits
    # All variables: batch normalization does not move either.
    assert are_equal(before[0], after[0])
    assert not are_equal(before[1], after[1])
    assert rate == pytest.approx(0.03)
    # Then all learn.
    assert are_equal(start[1], after[1])
    assert not are_equal(start[0], end[0])
    assert not are_equal(start[1], end[1])


def test_without_layers_of_its_own_a_method_does_not_train_first(distil, fits):
    distil("--method_epochs=1", "--method=kd")
    assert len(fits) == 1


def test_students_that_are_trained_already_get_an_epoch(distil, fits, tmp_path):
    network(16).save(tmp_path / "wide.keras")
    shrunk = *DIFFKD, f"--teacher={tmp_path / 'wide.keras'}", "--student=shrink:0.5"
    run = distil(*shrunk, run="shrunk")
    assert len(fits) == 2
    assert read_flags(run)["method_epochs"] == "1"
    distil(*shrunk, "--method_epochs=0", run="at_once")
    assert len(fits) == 3
    distil(*DIFFKD, run="new")
    assert len(fits) == 4
    run = distil(*DIFFKD, "--quantization_aware=int8", run="new")
    assert len(fits) == 6
    # The student trains with a tenth of this rate.
    assert [rate for *_, rate in fits[-2:]] == pytest.approx([0.05, 0.005])
    assert read_flags(run / "int8")["method_epochs"] == "1"


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    distil, monkeypatch, epochs
):
    """Interrupted in the first `fit`, of the methods, or in the second one."""
    whole = distil(*FIRST, run="whole")
    started = []

    class Interrupt(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            started.append(self)

        def on_train_batch_begin(self, batch, logs=None):
            if len(started) == epochs and batch == 1:
                raise KeyboardInterrupt

    fit = training.Distiller.fit

    def interrupted(distiller, *args, callbacks=(), **kwargs):
        return fit(distiller, *args, callbacks=[*callbacks, Interrupt()], **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(training.Distiller, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            distil(*FIRST)
    run = distil(*FIRST)
    ours, theirs = (read_weights(each / "student.keras") for each in (run, whole))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_layers_that_were_frozen_stay_frozen():
    student = keras.Sequential([keras.Input((8, 8, 1)), network(4)])
    inner = student.layers[0]
    frozen = [layer for layer in inner.layers if layer.weights][0]
    frozen.trainable = False
    before = len(student.trainable_variables)
    with methods_first.frozen(student):
        assert student.trainable_variables == []
    assert len(student.trainable_variables) == before
    assert not frozen.trainable
