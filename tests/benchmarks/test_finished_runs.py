"""Benchmarks that go on where they were interrupted."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import finished_runs
from finished_runs import FinishedRuns, estimate


def square(task):
    return {"task": task, "accuracy": task[1] ** 2, "seconds": 1.0}


def run_long(task):
    folder = Path(task[0])
    (folder / "worker").write_text(str(os.getpid()))
    script = (
        "import os, time\n"
        "open('command', 'w').write(str(os.getpid()))\n"
        "time.sleep(300)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)


def test_ending_it_ends_its_workers_and_their_commands(tmp_path):
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "from finished_runs import FinishedRuns\n"
        "from test_finished_runs import run_long\n"
        "if __name__ == '__main__':\n"
        "    runs = FinishedRuns(Path(sys.argv[3], 'runs.jsonl'), tuple)\n"
        "    runs.run(run_long, [(sys.argv[3], 0)], workers=1)\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    folders = Path(finished_runs.__file__).parent, Path(__file__).parent
    process = subprocess.Popen([sys.executable, path, *folders, tmp_path])
    command = tmp_path / "command"
    wait_until(lambda: command.exists() and command.read_text())
    process.terminate()
    assert process.wait(30) != 0
    for file in (tmp_path / "worker", command):
        wait_until(lambda file=file: not is_running(int(file.read_text())))


def is_running(process_id):
    try:
        os.kill(process_id, 0)  # Sends nothing.
    except ProcessLookupError:
        return False
    return True


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


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
