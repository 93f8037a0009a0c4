import pickle

import numpy as np

from keras_diffkd import TrainingDivergedError


def failed():
    batch = (
        np.full((2, 4), np.nan, "float32"),
        {"boxes": np.ones((2, 3, 4)), "names": np.array([b"a", b"bc"], object)},
        None,
    )
    return TrainingDivergedError("diverged", ["the inputs"], 2, 5, batch)


def test_the_batch_is_saved_with_nested_targets_and_without_pickles(tmp_path):
    failed().save_batch(tmp_path / "batch.npz")
    with np.load(tmp_path / "batch.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"error", "x", "y/boxes", "y/names"}
        assert str(arrays["error"]) == "diverged"
        assert np.isnan(arrays["x"]).all()
        assert arrays["y/boxes"].shape == (2, 3, 4)
        assert arrays["y/names"].tolist() == [b"a", b"bc"]


def test_it_is_a_value_error_that_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(failed()))
    assert isinstance(error, ValueError)
    assert (str(error), error.culprits) == ("diverged", ["the inputs"])
    assert (error.epoch, error.step) == (2, 5)
    assert sorted(error.arrays()) == ["x", "y/boxes", "y/names"]


def test_without_a_batch_there_are_no_arrays():
    assert TrainingDivergedError("diverged").arrays() == {}
