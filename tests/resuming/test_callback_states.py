import json

import keras
import numpy as np

from keras_diffkd.resuming.callback_states import CallbackStates


class Remembering(keras.callbacks.Callback):
    def __init__(self, path):
        super().__init__()
        self.path = path
        self.images = np.ones(3)
        self.file = open  # Something that cannot be kept.
        self.best = None
        self.count = 0


def restored(before, after):
    """Saves what a callback remembers, through JSON, and gives it to another."""
    arrays = {}
    state = json.loads(json.dumps(before[1].get(arrays)))
    after[1].set(state, arrays)
    return state, arrays


def started(callback):
    return callback, CallbackStates([callback])


def test_what_changed_is_kept_with_its_types():
    first, second = started(Remembering("here")), started(Remembering("there"))
    value = {
        "weights": [np.ones((2, 2), "float16"), np.float32(0.1)],
        3: (1, None, [True, "text"], float("inf")),
    }
    first[0].best, first[0].count = value, 2
    state, arrays = restored(first, second)
    assert set(state["Remembering 0"]) == {"best", "count"}
    assert len(arrays) == 2
    found = second[0].best
    np.testing.assert_array_equal(found["weights"][0], value["weights"][0])
    assert found["weights"][0].dtype == "float16"
    assert isinstance(found["weights"][1], np.float32)
    assert found[3] == value[3]
    # What its constructor was given may differ.
    assert second[0].path == "there"


def test_what_has_been_restored_is_kept_again():
    first, second = started(Remembering("a")), started(Remembering("a"))
    first[0].count = 5
    restored(first, second)
    second[0].count = 0  # As it began, in this process.
    third = started(Remembering("a"))
    third[0].count = 3
    restored(second, third)
    assert third[0].count == 0


def test_arrays_that_stay_are_not_kept():
    first = started(Remembering("a"))
    assert first[1].get(arrays := {}) == {"Remembering 0": {}}
    assert not arrays
    first[0].images[1] = 2.0
    assert set(first[1].get(arrays)["Remembering 0"]) == {"images"}


def test_keras_still_knows_which_way_is_better():
    """EarlyStopping turns the sign of min_delta when it finds out."""
    pairs = []
    for _ in range(2):
        stopping = keras.callbacks.EarlyStopping("loss", min_delta=0.25, patience=1)
        stopping.set_model(keras.Sequential())
        stopping.on_train_begin()
        pairs.append(started(stopping))
    pairs[0][0].on_epoch_end(0, {"loss": 2.0})
    restored(*pairs)
    for stopping, _ in pairs:
        stopping.on_epoch_end(1, {"loss": 1.9})
        assert stopping.wait == 1
        stopping.on_epoch_end(2, {"loss": 1.0})
        assert stopping.wait == 0


def test_callbacks_of_one_class_are_told_apart_and_missing_ones_left_out():
    pair = [Remembering("a"), Remembering("b")]
    states = CallbackStates(pair)
    pair[0].count, pair[1].count = 1, 2
    state = states.get({})
    again = [Remembering("a"), keras.callbacks.Callback(), Remembering("b")]
    CallbackStates(again).set(state, {})
    assert [again[0].count, again[2].count] == [1, 2]
    alone = Remembering("a")
    CallbackStates([alone]).set(state, {})
    assert alone.count == 1


def test_a_callback_may_say_itself_what_it_remembers():
    class Own(Remembering):
        def get_state(self):
            return {"twice": 2 * self.count}

        def set_state(self, state):
            self.count = state["twice"]

    first, second = started(Own("a")), started(Own("a"))
    first[0].count = 4
    restored(first, second)
    assert second[0].count == 8
