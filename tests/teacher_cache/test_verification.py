import numpy as np
import pytest

from keras_diffkd.datasets import augmentation
from keras_diffkd.teacher_cache import verify
from keras_diffkd.teacher_cache.verification import compare

FEW = {"train_split": "train[:320]"}


def test_what_half_precision_costs(build, load, teacher):
    views = load(**FEW).views
    result = verify(build(views=views, taps=["features"]), teacher, views, 100)
    assert result.count == 100
    assert 0 < result.errors[None] < 1e-3
    assert 0 < result.errors["features"] < 1e-3
    assert result.changed_top1 <= 0.02
    assert "100 views" in str(result)


@pytest.mark.parametrize("top_k", [None, 3])
def test_float32_costs_nothing(build, load, teacher, top_k):
    cache = build(views=load(**FEW).views, dtype="float32", top_k=top_k)
    result = verify(cache, teacher, load(seed=8, view_seed=5, **FEW).views, 10_000)
    assert result.count == 320
    assert result.errors[None] < 1e-5
    assert result.changed_top1 == 0


def test_a_changed_augmentation_is_found(built, load, teacher, monkeypatch):
    """Also if nobody has raised its version."""
    monkeypatch.setitem(augmentation.AUGMENTATIONS, "crop", augmentation.none)
    with pytest.raises(ValueError, match="does not hold what this teacher computes"):
        verify(built, teacher, load().views, 64)


def test_measures():
    fresh = {None: np.array([[1.0, -1.0], [1.0, -1.0]]), "a": np.zeros((2, 3))}
    stored = {None: np.array([[1.0, -1.0], [-1.0, 1.0]]), "a": np.zeros((2, 3))}
    result = compare(stored, fresh)
    assert result.changed_top1 == 0.5
    assert result.errors[None] == pytest.approx(2**0.5)
    assert result.largest == {None: 2.0, "a": 0.0}
