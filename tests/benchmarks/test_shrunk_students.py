"""The table of students that are made out of their teacher."""

import numpy as np
import shrunk_training
from shrunk_training import (
    BY_HAND,
    INHERITED,
    KD,
    NEW,
    STARTS,
    WIDTHS,
    Task,
    epochs_to,
    make_student,
    tasks,
)

from keras_diffkd.models import build_model


def record(start, accuracies, seed=0, width=0.5):
    task = Task(width, start, KD, seed, len(accuracies) - 1)
    parameters = {"parameters": 44786, "curve": accuracies, "accuracy": accuracies[-1]}
    return {**task._asdict(), **parameters}


def test_the_table_says_when_inherited_weights_are_as_good_as_new_ones():
    records = [
        record(NEW, [0.1, 0.6, 0.8]),
        record(INHERITED, [0.2, 0.8, 0.9]),
        record(NEW, [0.1, 0.5, 0.7], seed=1),
        record(INHERITED, [0.2, 0.6, 0.7], seed=1),
    ]
    costs = {(width, start): 1e6 for width in WIDTHS for start in STARTS}
    text = shrunk_training.table(records, costs)
    inherited, new = text.partition("\n\n")[0].splitlines()[2:]
    cells = [cell.strip() for cell in inherited.split("|")[1:-1]]
    assert cells[:6] == ["0.5", "44,786", "1.00", "inherited", "KD", "2"]
    assert cells[6:] == ["20.0", "80.0 ± 14.1", "1.5 of 2"]
    assert "75.0 ± 7.1" in new
    # 10 and 0 points.
    assert "+5.0 ± 7.1 (2)" in text
    assert epochs_to([0.1, 0.2], 0.3) is None


def test_both_starts_are_the_same_architecture():
    every = tasks(seeds=1, epochs=1)
    assert len(every) == len(set(every)) == 27
    by_hand = make_student(Task(0.25, BY_HAND, KD, 0, 1))
    assert by_hand.count_params() == 20146  # Of `fashion_student`.
    inherited, new = (
        make_student(Task(0.25, start, KD, 0, 1)) for start in (INHERITED, NEW)
    )
    assert inherited.count_params() == new.count_params() == 13746
    teacher = build_model("fashion_teacher", (28, 28, 1), 10)
    teacher.load_weights(shrunk_training.TEACHER)
    bias, first, second = (
        np.array(model.get_layer("logits").bias) for model in (teacher, inherited, new)
    )
    np.testing.assert_array_equal(first, bias)
    assert np.abs(second - bias).max() > 0
