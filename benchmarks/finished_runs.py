"""Trains in parallel, and remembers what is done in a file."""

import json
import multiprocessing
import signal
import sys
import time
from collections import defaultdict


class FinishedRuns:
    """Does tasks in worker processes and keeps one JSON line of each.

    An interrupted benchmark resumes there: it does no task twice.

    Args:
        path: File of the JSON lines.
        key: Function from a line's record to its task, which is hashable, or to `None`
            for a record of another benchmark.

    Attributes:
        records: Dict from the tasks that are done to their records.
    """

    def __init__(self, path, key):
        self._path, self._key = path, key
        self.records = {}
        for record in read_lines(path):
            self._remember(record)

    def _remember(self, record):
        task = self._key(record)
        if task is not None:
            self.records[task] = record

    def run(self, job, tasks, workers, initializer=None, kind=lambda task: None):
        """Does what is missing of the tasks.

        Args:
            job: Function from a task to its record, which has `accuracy` and `seconds`.
                Another process must be able to import it.
            tasks: List of tasks.
            workers: Integer, processes.
            initializer: Optional function that begins a process.
            kind: Function from a task to what its duration depends on.
        """
        missing = [task for task in dict.fromkeys(tasks) if task not in self.records]
        if not missing:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A pool that is left ends its processes; a killed one would leave them behind.
        _exit_when_terminated()
        # A fresh process now and then: traced functions are never given back.
        with (
            multiprocessing.get_context("spawn").Pool(
                workers, _begin_worker, (initializer,), maxtasksperchild=5
            ) as pool,
            self._path.open("a", encoding="utf-8") as file,
        ):
            left = set(missing)
            for record in pool.imap_unordered(job, missing):
                file.write(json.dumps(record) + "\n")
                file.flush()
                self._remember(record)
                left.discard(self._key(record))
                self._say(record, len(missing), left, workers, kind)

    def _say(self, record, total, left, workers, kind):
        seconds = estimate(self.records, left, kind) / workers
        print(
            f"[{total - len(left)}/{total}] {_words(self._key(record))}: "
            f"{record['accuracy']:.4f} ({record['seconds']:.0f} s; "
            f"{_duration(seconds)} left; {time.strftime('%H:%M')})",
            flush=True,
        )


def _begin_worker(initializer):
    # An exit ends the command that the worker waits for, too.
    _exit_when_terminated()
    if initializer is not None:
        initializer()


def _exit_when_terminated():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def read_lines(path):
    """Returns the records of a file of JSON lines; of a missing file, none."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def estimate(records, tasks, kind):
    """Returns the seconds that tasks will take in one process.

    Args:
        records: Dict from tasks that are done to their records.
        tasks: Iterable of tasks.
        kind: Function from a task to what its duration depends on. A kind of which
            nothing is done takes as long as the mean of the others.
    """
    seconds = defaultdict(list)
    for task, record in records.items():
        if "seconds" in record:
            seconds[kind(task)].append(record["seconds"])
    means = {name: sum(values) / len(values) for name, values in seconds.items()}
    mean = sum(means.values()) / len(means) if means else 0.0
    return sum(means.get(kind(task), mean) for task in tasks)


def _words(task):
    return " ".join(map(str, task))


def _duration(seconds):
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d}"
