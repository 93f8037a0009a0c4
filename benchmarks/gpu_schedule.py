"""The processes of `gpu.py`: who compiles, who is timed and who trains, and when."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

WORKER = Path(__file__).with_name("gpu_worker.py")
# Seconds of timed steps in a turn of a case.
TURN = 0.6
# So many seeds may the fastest row be ahead of the slowest.
AHEAD = 2
# Kept free at the end for the last files.
MARGIN = 8.0
# There it is about whether everything runs, not about speed.
ON_CPU = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false",
}


class Worker:
    """A process of `gpu_worker.py`.

    Args:
        job: Dict, its argument.
        events: Queue that gets `(worker, event)`; the last event is `"ended"`.
        log: Open file for what it prints besides.
        environment: Dict of environment variables.
        nice: Integer, how much it gives way to others on the processor.
    """

    def __init__(self, job, events, log, environment, nice=0):
        self.job = job
        self.row_seed = 0  # The next one.
        self.seconds = 0.0  # Of its last seed.
        self.busy = True
        self._events = events
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            preexec_fn=lambda: os.nice(nice),
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            try:
                self._events.put((self, json.loads(line)))
            except json.JSONDecodeError:
                print(line, end="", file=sys.stderr)  # A library's own message.
        code = self._process.wait()
        self._events.put((self, {"event": "ended", "code": code}))

    def tell(self, line):
        """Sends a line, if the process is still there to read it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def signal(self, number):
        """Sends a signal."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def end(self):
        """Ends the process at once."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self.busy = False


class Schedule:
    """Runs the processes within the time that there is.

    Args:
        output: Folder for `events.jsonl`, `workers.log` and `results.json`.
        end: Value of `time.monotonic()` at which everything has ended.
        device: "gpu" or "cpu".
        about: Dict for the results.
    """

    def __init__(self, output, end, device, about):
        self._output = output
        self._start, self._end = time.monotonic(), end - MARGIN
        self._device = device
        self._results = {"about": about, "skipped": [], "steps": [], "training": []}
        self._events = queue.Queue()
        self._training, self._timed, self._delayed = [], [], []
        self._teacher = None
        self._files = contextlib.ExitStack()

    def __enter__(self):
        self._log = self._files.enter_context(open(self._output / "workers.log", "w"))
        self._lines = self._files.enter_context(
            open(self._output / "events.jsonl", "w")
        )
        self._scratch = self._files.enter_context(tempfile.TemporaryDirectory())
        return self

    def __exit__(self, *error):
        for worker in (*self._training, *self._timed, self._teacher):
            if worker:
                worker.end()
        self._write_results()
        self._files.close()

    def left(self):
        """Returns the seconds that are left."""
        return self._end - time.monotonic()

    def start_training(self, regimes, data, most_seeds, delayed):
        """Starts the teacher's training, and the rows', which wait for it.

        Args:
            regimes: List as `gpu_cases.FASHION`.
            data: Folder of IDX files.
            most_seeds: Integer.
            delayed: Whether all regimes but the first wait for `start_delayed`.
        """
        self._most_seeds = most_seeds
        self._results["about"]["regimes"] = regimes
        common = {
            "device": self._device,
            "data": str(data),
            "teacher_file": str(Path(self._scratch, "teacher.weights.h5")),
        }
        self._teacher = self._worker(
            {
                **common,
                "kind": "teacher",
                "teacher_epochs": regimes[0]["teacher_epochs"],
            }
        )
        jobs = [
            [
                {
                    **common,
                    "kind": "row",
                    "row": row,
                    **{key: regime[key] for key in ("title", "per_class", "epochs")},
                }
                for row in regime["rows"]
            ]
            for regime in regimes
        ]
        self._delayed = sum(jobs[1:], []) if delayed else []
        for job in jobs[0] if delayed else sum(jobs, []):
            self._training.append(self._worker(job, nice=10))

    def start_delayed(self):
        """Starts the rows that were to wait."""
        for job in self._delayed:
            self._training.append(self._worker(job, nice=10))
            if "teacher" in self._results:
                self._training[-1].tell("teacher")
        self._delayed = []

    def time_steps(self, cases, seconds, turns):
        """Compiles the cases at the same time, then times them in turns.

        Args:
            cases: List as in `gpu_cases.WAVES`.
            seconds: What they may take; those that are late are left out.
            turns: Integer.
        """
        if seconds < 30 and self._device == "gpu":
            self._skip(cases, "no time is left")
            return
        until = time.monotonic() + seconds
        self._timed = [
            self._worker({"kind": "steps", "device": self._device, **case})
            for case in cases
        ]
        waiting = set(self._timed)
        while waiting and time.monotonic() < until:
            worker, event = self._next(until)
            if event.get("event") in ("ready", "ended"):
                waiting.discard(worker)
        for worker in waiting:
            worker.end()
        self._skip([worker.job for worker in waiting], "it had not compiled in time")
        ready = [w for w in self._timed if w.busy and w not in waiting]
        with self._nothing_else():
            for turn in range(turns):
                if time.monotonic() > until:
                    print(f"timed {turn} of {turns} turns: no time is left")
                    break
                for worker in ready:
                    worker.tell(TURN)
                    self._wait_for(worker, "timed", 60.0)
        for worker in self._timed:
            worker.end()
        self._timed = []

    def train_until_end(self):
        """Trains seed after seed until the time is over or every row has all."""
        while self.left() > 0 and self._unfinished():
            self._next(self._end)
        for worker in self._training:
            if worker.busy and not worker.row_seed:
                self._skip([worker.job], "it had not trained in time")

    def _unfinished(self):
        return any(w.busy for w in (*self._training, self._teacher) if w)

    def _worker(self, job, nice=0):
        environment = {
            **os.environ,
            # Many small programs, such as initializers, are the same in all processes.
            "JAX_COMPILATION_CACHE_DIR": str(Path(self._scratch, "cache")),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            **(ON_CPU if self._device == "cpu" else {}),
        }
        return Worker(job, self._events, self._log, environment, nice)

    def _wait_for(self, worker, name, seconds):
        until = time.monotonic() + seconds
        while worker.busy and time.monotonic() < until:
            source, event = self._next(until)
            if source is worker and event.get("event") == name:
                return

    def _next(self, until):
        """Takes the next event, or `(None, {})` when there is none until then."""
        try:
            worker, event = self._events.get(
                timeout=max(0.01, min(until - time.monotonic(), 1.0))
            )
        except queue.Empty:
            self._let_train()
            return None, {}
        self._note(worker, event)
        self._let_train()
        return worker, event

    def _note(self, worker, event):
        """Remembers an event, on disk too."""
        job, kind = worker.job, event["event"]
        names = {
            key: job[key] for key in ("title", "case", "dtype", "row") if key in job
        }
        entry = {
            "at": round(time.monotonic() - self._start, 1),
            "kind": job["kind"],
            **names,
            **event,
        }
        if kind != "ask":
            print(json.dumps(entry), file=self._lines, flush=True)
        if kind == "hello":
            about = {key: event[key] for key in ("device", "machine")}
            self._results["about"].update(about)
        elif kind == "ended":
            self._ended(worker, event["code"])
        elif kind == "ready":
            self._results["steps"].append(
                {**job, "times": [], **event, "at": entry["at"]}
            )
        elif kind == "timed":
            result = next(r for r in self._results["steps"] if _same_case(r, job))
            result["times"].append(event["seconds"])
            result["peak_bytes"] = event["peak_bytes"]
        elif kind == "teacher":
            self._results["teacher"] = {
                key: event[key] for key in ("accuracy", "seconds")
            }
            for row in self._training:
                row.tell("teacher")
        elif kind == "ask":
            worker.asking = True
        elif kind == "trained":
            worker.row_seed += 1
            worker.seconds = event["seconds"]
            result = {key: event[key] for key in ("seed", "accuracy", "seconds")}
            self._results["training"].append({**names, **result})
        if kind in ("timed", "trained", "teacher", "ended"):
            self._write_results()

    def _ended(self, worker, code):
        """Says so when a process has not ended as it should."""
        expected = worker.job["kind"] == "teacher" and "teacher" in self._results
        if worker.busy and not expected:
            log = Path(self._log.name).read_text(errors="replace")[-500:]
            self._skip([worker.job], f"its process ended with {code}: see workers.log")
            print(log, file=sys.stderr)
        worker.busy = False

    def _let_train(self):
        """Lets the rows go on that are not too far ahead and have the time."""
        for worker in self._training:
            if not (worker.busy and getattr(worker, "asking", False)):
                continue
            if worker.row_seed >= self._most_seeds:
                worker.end()
                continue
            # The first seed compiles, the others do not.
            needed = worker.seconds / (4 if worker.row_seed == 1 else 1)
            if needed > self.left():
                worker.busy = worker.row_seed == 0
                continue
            others = [
                other.row_seed
                for other in self._training
                if other.job["title"] == worker.job["title"] and other.busy
            ]
            if worker.row_seed < min(others) + AHEAD:
                worker.asking = False
                worker.tell(worker.row_seed)

    @contextlib.contextmanager
    def _nothing_else(self):
        """Stops all processes that are not timed."""
        others = [w for w in (*self._training, self._teacher) if w and w.busy]
        for worker in others:
            worker.signal(signal.SIGSTOP)
        time.sleep(0.5)  # What they have begun on the device.
        try:
            yield
        finally:
            for worker in others:
                worker.signal(signal.SIGCONT)

    def _skip(self, jobs, why):
        for job in jobs:
            names = [job.get(key) for key in ("title", "row", "dtype", "case")]
            text = (
                f"{job.get('kind', 'steps')}: {', '.join(filter(None, names))}: {why}"
            )
            print(f"skipped {text}", flush=True)
            self._results["skipped"].append(text)

    def _write_results(self):
        path = self._output / "results.json"
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(self._results, indent=1))
        aside.replace(path)


def _same_case(result, job):
    return all(result[key] == job[key] for key in ("title", "dtype", "case"))
