import keras
import numpy as np
import pytest

from keras_diffkd.teacher_cache.records import RecordLayout


def softmax(logits):
    return np.asarray(keras.ops.softmax(np.asarray(logits, "float64")))


def test_float32_records_give_back_every_bit(rng):
    layout = RecordLayout(10, "float32", features={"map": (2, 2, 3)})
    outputs = {
        None: rng.normal(size=(4, 10)).astype("float32"),
        "map": rng.normal(size=(4, 2, 2, 3)).astype("float32"),
    }
    records = layout.encode([7, 0, 2**32 - 1, 9], outputs)
    assert {len(record) for record in records} == {4 + 4 * 10 + 4 * 12}
    found = layout.decode(records, [7, 0, 2**32 - 1, 9])
    for tap, array in outputs.items():
        np.testing.assert_array_equal(found[tap], array)
    assert list(layout.decode(records, [7, 0, 2**32 - 1, 9], ["map"])) == ["map"]


@pytest.mark.parametrize("positions", [(), (2, 3)])
def test_the_rest_of_top_k_is_spread_evenly(rng, positions):
    """The probabilities are those of the teacher, and their sum for the others."""
    logits = rng.normal(0, 3, (5, *positions, 50))
    layout = RecordLayout(50, "float32", top_k=4, positions=positions)
    records = layout.encode(range(5), {None: logits})
    assert len(records[0]) == 4 + np.prod(positions, dtype=int) * 4 * (2 + 4)
    [found] = layout.decode(records, range(5)).values()
    ours, theirs = softmax(found), softmax(logits)
    top = np.argsort(-theirs, axis=-1)[..., :4]
    np.testing.assert_allclose(
        np.take_along_axis(ours, top, -1),
        np.take_along_axis(theirs, top, -1),
        rtol=1e-5,
    )
    others = ours.copy()
    np.put_along_axis(others, top, np.nan, -1)
    assert (np.nanmax(others, -1) - np.nanmin(others, -1) < 1e-9).all()


@pytest.mark.parametrize(
    ("classes", "top_k", "size"),
    [(10, None, 24), (1000, 100, 404), (70_000, 100, 604)],
)
def test_bytes_of_a_view(classes, top_k, size):
    assert RecordLayout(classes, top_k=top_k).dtype.itemsize == size


@pytest.mark.parametrize("top_k", [None, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_what_half_precision_cannot_hold(value, top_k):
    layout = RecordLayout(3, top_k=top_k)
    logits = np.array([[1.0, 2.0, 3.0], [1.0, value, 2.0]], "float32")
    with pytest.raises(ValueError, match="must be finite.*the view 41"):
        layout.encode([40, 41], {None: logits})


def test_records_of_other_views_or_sizes():
    layout = RecordLayout(3)
    records = layout.encode([1, 2], {None: np.zeros((2, 3))})
    with pytest.raises(ValueError, match="not that of the view"):
        layout.decode(records, [2, 1])
    with pytest.raises(ValueError, match="size"):
        layout.decode([records[0], records[1] + b"0"], [1, 2])


@pytest.mark.parametrize("top_k", [0, 10, 1.5])
def test_refuses_top_k(top_k):
    with pytest.raises(ValueError, match="`top_k` must be an integer in 1 to 9"):
        RecordLayout(10, top_k=top_k)
