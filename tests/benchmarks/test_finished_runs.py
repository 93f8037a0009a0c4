"""Benchmarks that go on where they were interrupted."""

import json

from finished_runs import FinishedRuns, estimate


def square(task):
    return {"task": task, "accuracy": task[1] ** 2, "seconds": 1.0}


def task_of(record):
    return tuple(record["task"]) if record["accuracy"] >= 0 else None


def test_what_is_done_is_not_done_again(tmp_path, capsys):
    path = tmp_path / "folder" / "runs.jsonl"
    runs = FinishedRuns(path, task_of)
    runs.run(square, [("a", 1), ("b", 2)], workers=1)
    # A record of something else, and a task that comes twice.
    with path.open("a") as file:
        file.write(json.dumps({"task": ["a", 3], "accuracy": -1.0}) + "\n")
    runs = FinishedRuns(path, task_of)
    runs.run(square, [("b", 2), ("a", 3), ("a", 3)], workers=1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["accuracy"] for line in lines] == [1, 4, -1, 9]
    assert {task: r["accuracy"] for task, r in runs.records.items()} == {
        ("a", 1): 1,
        ("b", 2): 4,
        ("a", 3): 9,
    }
    assert "[1/1] a 3: 9.0000 (1 s; 0 h 00 left" in capsys.readouterr().out


def test_estimate_knows_that_methods_differ():
    records = {
        ("a", 0): {"seconds": 10.0},
        ("a", 1): {"seconds": 20.0},
        ("b", 0): {"seconds": 105.0},
        ("b", 1): {},
    }
    left = [("a", 2), ("b", 2), ("c", 0)]
    assert estimate(records, left, kind=lambda task: task[0]) == 15 + 105 + 60
    assert estimate({}, left, kind=lambda task: task[0]) == 0
