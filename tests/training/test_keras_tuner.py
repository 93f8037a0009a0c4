"""A search with KerasTuner, which builds, saves and loads distillers."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import Distiller, FitNet, LogitsKD

keras_tuner = pytest.importorskip("keras_tuner")

STEPS = 4  # Of a trial.
FIT = {"batch_size": 8, "verbose": 0}


class Search(keras_tuner.HyperModel):
    """Keeps the distillers that were trained and their state before and after."""

    def __init__(self):
        super().__init__()
        self.teacher = small_cnn(8)
        self.trials = []

    def build(self, hp):
        temperature = hp.Choice("temperature", [1, 4])
        methods = [
            FitNet("features", "features", weight="balanced"),
            LogitsKD(temperature=temperature, weight="balanced"),
        ]
        distiller = Distiller(self.teacher, small_cnn(4), methods)
        optimizer = keras.optimizers.SGD(0.05)
        distiller.compile(optimizer, cross_entropy(), metrics=["accuracy"])
        return distiller

    def fit(self, hp, model, *args, **kwargs):
        before = state_of(model)
        history = super().fit(hp, model, *args, **kwargs)
        self.trials.append((model, before, state_of(model)))
        return history


def state_of(distiller):
    return {variable.path: np.array(variable) for variable in distiller.variables}


def assert_same(state, expected):
    # The second distiller of a process has other names.
    for value, other in zip(state.values(), expected.values(), strict=True):
        np.testing.assert_array_equal(value, other)


def weights_of(distiller):
    weights = distiller.loss_balance.weights_by_name()
    return {name: float(weight) for name, weight in weights.items()}


@pytest.fixture(scope="module")
def data():
    return random_batch(np.random.default_rng(0), 8 * STEPS)


@pytest.fixture(scope="module")
def tuner(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    tuner = keras_tuner.GridSearch(Search(), "val_accuracy", directory=folder)
    tuner.search(*data, validation_data=data, **FIT)
    return tuner


def test_trials_share_nothing_but_the_teacher(tuner):
    [first, second] = tuner.hypermodel.trials
    for distiller, before, after in (first, second):
        assert distiller.teacher is tuner.hypermodel.teacher
        steps = [
            int(state[distiller.loss_balance.steps.path]) for state in (before, after)
        ]
        assert steps == [0, STEPS]
        # The second trial left the first one alone.
        assert_same(state_of(distiller), after)
    ratios = second[0].loss_balance.ratios.path
    assert not second[1][ratios].any()
    assert first[0].methods[1].temperature != second[0].methods[1].temperature


def test_the_best_distiller_is_loaded_with_its_balanced_weights(tuner, data):
    [best] = tuner.get_best_models()
    scores = [trial.score for trial in tuner.oracle.trials.values()]
    saved, _, after = tuner.hypermodel.trials[np.argmax(scores)]
    assert weights_of(best) == weights_of(saved)
    assert 1.0 not in weights_of(best).values()
    np.testing.assert_array_equal(
        best.predict(data[0], verbose=0), saved.predict(data[0], verbose=0)
    )
    # It continues to measure where the trial ended.
    best.fit(*data, **FIT)
    assert int(best.loss_balance.steps) == 2 * STEPS
