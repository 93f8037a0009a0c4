"""The tables of segmenters and detectors that are made out of their teachers."""

from shrunk_scenes_table import report


def line(weights, method, accuracy, seed=0, task="segmentation"):
    return {
        "task": task,
        "weights": weights,
        "method": method,
        "seed": seed,
        "parameters": 232832,
        "multiply_adds": 23_700_000,
        "accuracy": accuracy,
        "machine": "a machine",
    }


def test_differences_are_those_within_a_seed():
    text = report(
        [
            line("inherited", "student alone", 0.8),
            line("new", "student alone", 0.5),
            line("inherited", "student alone", 0.7, seed=1),
            line("new", "student alone", 0.6, seed=1),
            # Of this seed the student alone is missing.
            line("new", "DiffKD", 0.9, seed=2),
            line("inherited", "DiffKD", 0.81),
            line("new, of the zoo", "DiffKD", 0.4, task="detection"),
        ]
    )
    segmentation, detection = text.split("**Detection**")
    cells = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in segmentation.splitlines()
        if row.startswith("| 232,832")
    ]
    assert cells == [
        ["232,832", "23.7", "inherited", "student alone", "2", "75.0 ± 7.1"],
        ["232,832", "23.7", "new", "student alone", "2", "55.0 ± 7.1"],
        ["232,832", "23.7", "new", "DiffKD", "1", "90.0"],
        ["232,832", "23.7", "inherited", "DiffKD", "1", "81.0"],
    ]
    assert "Inherited over new weights, students alone: +20.0 ± 14.1 (2)" in text
    assert "DiffKD over the student alone, inherited weights: +1.0 (1)." in text
    assert "the same, new weights" not in text
    assert "new, `retinanet_scenes_student`" in detection
