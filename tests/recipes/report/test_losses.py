import pytest
from absl.testing import flagsaver
from helpers.run_records import distilled, page_of, text_of

from keras_diffkd.recipes.report.losses import loss_shares, loss_weights, named_losses


@pytest.mark.usefixtures("without_curves")
def test_shares_are_weight_times_value(write_run):
    text = text_of(page_of(write_run(student=distilled(0.95, loss=1.0))))
    # 0.25 x 1, 0.5 x 1 and 0.125 x 2.
    assert "diffkd_features/distill 1 0.5 50.0%" in text
    assert "diffkd_features/denoise 2 0.125 25.0%" in text
    assert "task_loss 1 0.25 25.0%" in text
    shares = loss_shares({"loss": 4.0, "a": 1.0, "b": 1.0}, {"a": 1.0, "b": 2.0})
    assert [share.name for share in shares] == ["b", "a", "other (regularization)"]
    assert [share.share for share in shares] == [0.5, 0.25, 0.25]


def test_a_balanced_weight_is_the_one_that_training_has_settled_on():
    line = {
        "loss": 8.0,
        "task_loss": 1.0,
        "kd/distill": 2.0,
        "kd/distill_weight": 3.5,
    }
    with flagsaver.flagsaver(method=["kd"], distill_weight="balanced"):
        weights = loss_weights([{**line, "kd/distill_weight": 1.0}, line])
        assert loss_weights([]) == {"task_loss": 1.0, "kd/distill": 1.0}
    assert weights == {"task_loss": 1.0, "kd/distill": 3.5}
    assert named_losses([line], weights) == ["task_loss", "kd/distill"]
    assert [share.share for share in loss_shares(line, weights)] == [0.875, 0.125]
