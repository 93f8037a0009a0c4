import numpy as np
import pytest

from keras_diffkd.metrics import iou, mean_iou

CLASSES = 5


def reference(predicted, masks, ignore_label=None):
    counted = masks != ignore_label
    predicted, masks = predicted[counted], masks[counted]
    values = []
    for label in np.union1d(predicted, masks):
        both = np.sum((predicted == label) & (masks == label))
        values.append(both / np.sum((predicted == label) | (masks == label)))
    return np.mean(values)


@pytest.mark.parametrize("ignore_label", [None, 255, -1, 0])
@pytest.mark.parametrize("as_logits", [False, True])
@pytest.mark.parametrize("chunk", [1, 2**24])
def test_against_numpy(ignore_label, as_logits, chunk, rng, monkeypatch):
    monkeypatch.setattr(iou, "_CHUNK", chunk)
    # Class 4 never occurs, class 3 in the predictions alone.
    masks = rng.integers(0, 3, (3, 6, 7))
    predicted = np.where(rng.uniform(size=masks.shape) < 0.6, masks, 3)
    if ignore_label is not None:
        masks[:, :2] = ignore_label
    expected = reference(predicted, masks, ignore_label)
    given = np.eye(CLASSES, dtype="float32")[predicted] if as_logits else predicted
    received = mean_iou(given, masks, CLASSES, ignore_label)
    assert isinstance(received, float)
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def test_small_masks_of_bytes():
    masks = np.array([[[0, 1, 255]]], "uint8")
    assert mean_iou(masks, masks, 2, ignore_label=255) == pytest.approx(1.0)
    logits = np.array([[[[9.0, 0.0], [9.0, 0.0], [0.0, 9.0]]]])
    assert mean_iou(logits, masks, 2, ignore_label=255) == pytest.approx(0.25)


def test_errors():
    masks = np.array([[[0, 1, 255]]])
    with pytest.raises(ValueError, match="to 255.*ignore_label"):
        mean_iou(np.zeros_like(masks), masks, 2)
    with pytest.raises(ValueError, match="Predicted classes must be from 0 to 1"):
        mean_iou(np.full_like(masks, 2), masks, 2, ignore_label=255)
    with pytest.raises(ValueError, match="No pixel"):
        mean_iou(masks, np.full_like(masks, 255), 2, ignore_label=255)
    with pytest.raises(ValueError, match=r"predictions \(1, 1, 3, 4\)"):
        mean_iou(np.zeros((1, 1, 3, 4)), masks, 2, ignore_label=255)
