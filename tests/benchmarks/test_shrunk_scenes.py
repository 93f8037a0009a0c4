"""The tables of segmenters and detectors that are made out of their teachers."""

from shrunk_scenes_table import report


def line(weights, method, accuracy, seed=0, task="segmentation", width=0.5):
    return {
        "task": task,
        "width": width,
        "weights": weights,
        "method": method,
        "seed": seed,
        "parameters": 232832,
        "multiply_adds": 23_700_000,
        "curve": [accuracy - 0.1, accuracy],
        "accuracy": accuracy,
        "machine": "a machine",
    }


def rows(text):
    return [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in text.splitlines()
        if row.startswith("|") and not row.startswith("|--")
    ]


def test_differences_are_those_within_a_seed():
    text = report(
        [
            line("teacher", "", 0.85, width=None),
            line("inherited", "student alone", 0.8),
            line("new", "student alone", 0.5),
            line("inherited", "student alone", 0.7, seed=1),
            line("new", "student alone", 0.6, seed=1),
            line("inherited", "student alone", 0.9, seed=2, width=0.75),
            # Of this seed the student alone is missing.
            line("new", "DiffKD", 0.9, seed=2),
            line("inherited", "DiffKD", 0.81),
            line("new, of the zoo", "DiffKD", 0.4, task="detection", width=None),
        ]
    )
    segmentation, detection = text.split("**Detection**")
    values, over_new, over_alone = (
        rows(part) for part in segmentation.split(" minus ")
    )
    shared = ["232,832", "23.7"]
    assert values[1:] == [
        ["", *shared, "teacher", "1", "85.0", ""],
        ["0.75", *shared, "inherited", "1", "90.0", ""],
        ["0.5", *shared, "inherited", "1", "80.0", "81.0"],
        ["0.5", *shared, "new", "0", "", ""],
    ]
    assert over_new[1:] == [["0.5", "+20.0 ± 14.1 (2)", "", "+10.0 ± 14.1 (2)"]]
    assert over_alone[1:] == [
        ["0.75", "inherited", ""],
        ["0.5", "inherited", "+1.0 (1)"],
        ["0.5", "new", ""],
    ]
    assert "new, `retinanet_scenes_student`" in detection
