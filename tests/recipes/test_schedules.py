import keras
import numpy as np
import pytest

from keras_diffkd.recipes.optimizers import CoupledSGD
from keras_diffkd.recipes.schedules import build_optimizer, build_schedule


def rates_by_epoch(schedule, epochs, steps):
    """The learning rate of the first and of the last step of each epoch."""
    at = [(epoch * steps, epoch * steps + steps - 1) for epoch in range(epochs)]
    return np.array([[float(schedule(step)) for step in pair] for pair in at])


def test_step_lowers_the_rate_after_each_milestone(parse):
    parse("--lr_schedule=step", "--milestones=2,3", "--learning_rate=1")
    rates = rates_by_epoch(build_schedule(10), 4, 10)
    np.testing.assert_allclose(rates[:, 0], [1, 1, 0.1, 0.01], rtol=1e-6)
    np.testing.assert_array_equal(rates[:, 0], rates[:, 1])


def test_cosine_warms_up_and_ends_at_zero(parse):
    parse(
        "--lr_schedule=cosine", "--warmup_epochs=2", "--epochs=4", "--learning_rate=1"
    )
    schedule = build_schedule(10)
    np.testing.assert_allclose(
        [float(schedule(step)) for step in (0, 10, 20, 30, 40)],
        [0, 0.5, 1, 0.5, 0],
        atol=1e-6,
    )


def test_polynomial_ends_at_zero(parse):
    parse("--lr_schedule=polynomial", "--epochs=4", "--learning_rate=1")
    schedule = build_schedule(10)
    np.testing.assert_allclose(
        [float(schedule(step)) for step in (0, 20, 40)], [1, 0.5**0.9, 0], rtol=1e-6
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_gradients_are_clipped_when_asked_for(parse, optimizer):
    parse(f"--optimizer={optimizer}")
    assert build_optimizer(10).global_clipnorm is None
    parse(f"--optimizer={optimizer}", "--global_clipnorm=2")
    assert build_optimizer(10).global_clipnorm == 2.0
    # Detectors diverge otherwise.
    parse(f"--optimizer={optimizer}", "--task=detection")
    assert build_optimizer(10).global_clipnorm == 1.0
    parse(f"--optimizer={optimizer}", "--task=detection", "--global_clipnorm=0")
    assert build_optimizer(10).global_clipnorm is None


def test_sgd_is_the_coupled_one_with_the_flags(parse):
    parse("--weight_decay=5e-4", "--momentum=0.8", "--nesterov")
    optimizer = build_optimizer(10)
    assert isinstance(optimizer, CoupledSGD)
    config = optimizer.get_config()
    assert config["coupled_weight_decay"] == 5e-4
    assert (config["momentum"], config["nesterov"]) == (0.8, True)


def test_adamw(parse):
    parse("--optimizer=adamw", "--weight_decay=0.04")
    optimizer = build_optimizer(10)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert optimizer.weight_decay == 0.04


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning_rate=0"], "must be positive. Received: 0"),
        (["--learning_rate=nan"], "must be positive. Received: nan"),
        (["--milestones=1"], "--milestones needs --lr_schedule=step"),
        (["--warmup_epochs=1"], "--warmup_epochs needs --lr_schedule=cosine"),
        (["--lr_schedule=step"], "--lr_schedule=step needs --milestones"),
        (["--lr_schedule=step", "--milestones=3,2"], "Received: '3,2'"),
        (["--lr_schedule=step", "--milestones=a"], "Received: 'a'"),
        (["--lr_schedule=step", "--milestones=0,2"], "Received: '0,2'"),
        (
            ["--lr_schedule=cosine", "--warmup_epochs=5", "--epochs=5"],
            "less than --epochs=5",
        ),
    ],
)
def test_refuses(parse, arguments, message):
    parse(*arguments)
    with pytest.raises(ValueError, match=message):
        build_schedule(10)
