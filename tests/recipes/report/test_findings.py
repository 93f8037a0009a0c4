import numpy as np
import pytest
from helpers.run_records import EPOCHS, curve, distilled, warnings_of


@pytest.mark.usefixtures("without_curves")
def test_one_seed_says_little(write_run):
    assert "One seed is not enough" in warnings_of(write_run())


@pytest.mark.usefixtures("without_curves")
def test_a_worse_student_is_a_warning(write_run):
    found = warnings_of(write_run(baseline=curve(0.96)))
    assert "worse than the student alone, by 1.00 points" in found
    assert "worse" not in warnings_of(write_run())


@pytest.mark.usefixtures("without_curves")
@pytest.mark.parametrize("value", [0.0, 3e-9])
def test_a_loss_of_zero_is_a_warning(write_run, value):
    run = write_run(student=distilled(0.95, **{"diffkd_features/distill": value}))
    assert "The loss diffkd_features/distill is zero" in warnings_of(run)
    once = [0.1] + [0.0] * (EPOCHS - 1)
    run = write_run(student=distilled(0.95, **{"diffkd_features/distill": once}))
    assert "is zero" not in warnings_of(run)


@pytest.mark.usefixtures("without_curves")
def test_a_flat_gamma_is_a_warning(write_run):
    # What happens in the first epoch is not what counts.
    flat = [0.5] + list(np.linspace(0.99, 0.999, EPOCHS - 1))
    run = write_run(student=distilled(0.95, **{"diffkd_features/gamma": flat}))
    assert "Noise adaptation does nothing" in warnings_of(run)
    moving = [0.5] + list(np.linspace(0.98, 0.999, EPOCHS - 1))
    run = write_run(student=distilled(0.95, **{"diffkd_features/gamma": moving}))
    assert "adaptation" not in warnings_of(run)


@pytest.mark.usefixtures("without_curves")
def test_a_loss_that_still_falls_is_a_warning(write_run):
    steep = 0.9 ** np.arange(EPOCHS)
    found = warnings_of(write_run(student=distilled(0.95, loss=steep)))
    assert "loss of the distilled student still falls steeply" in found
    assert "by 10% in the last epoch" in found
    assert "steeply" not in warnings_of(write_run())


@pytest.mark.usefixtures("without_curves")
def test_a_gain_that_may_be_noise_is_a_warning(write_run):
    found = warnings_of(write_run(seeds=[(0.96, 0.97), (0.93, 0.92)]))
    assert "not significant" in found
    assert "over 3 seeds" in found
