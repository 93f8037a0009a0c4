"""A process of `gpu.py`: times one kind of step, or trains one row of Fashion-MNIST.

It prints events as JSON lines, and does what the lines of its standard input say.
The argument is the job, as JSON.
"""

import sys

# What is measured must not need TensorFlow, whether it is installed or not.
sys.modules["tensorflow"] = None

import json  # noqa: E402
import time  # noqa: E402

import gpu_fashion  # noqa: E402
import keras  # noqa: E402
from gpu_steps import GpuCase  # noqa: E402
from report import describe_machine  # noqa: E402
from step_cases import accelerator, peak_bytes  # noqa: E402


def main(job):
    """Does the job."""
    if job["device"] == "gpu" and not accelerator():
        raise SystemExit("JAX finds no GPU. Use --device=cpu to run without one.")
    say("hello", device=accelerator() or "CPU", machine=describe_machine())
    {"steps": time_steps, "teacher": train_teacher, "row": train_row}[job["kind"]](job)


def time_steps(job):
    """Compiles a step, and runs it for as many seconds as each line asks for."""
    keras.config.set_dtype_policy(job["dtype"])
    case = GpuCase(job["case"], job["pair"], job["batch_size"], **job["arguments"])
    first = case.first_step()
    # The length of a turn, and what the second call of `fit` does for the first time.
    case.seconds(2)
    step = case.seconds(3)
    say("ready", first_step=first, flops=case.flops())
    for line in sys.stdin:
        steps = max(3, min(200, round(float(line) / step)))
        step = case.seconds(steps)
        say("timed", seconds=step, steps=steps, peak_bytes=peak_bytes())


def train_teacher(job):
    """Trains the teacher and saves its weights."""
    start = time.perf_counter()
    accuracy = gpu_fashion.train_teacher(
        job["data"], job["teacher_file"], job["teacher_epochs"]
    )
    say("teacher", accuracy=accuracy, seconds=time.perf_counter() - start)


def train_row(job):
    """Trains the seeds that the lines of the input ask for, one after the other."""
    sys.stdin.readline()  # The teacher is there.
    row = gpu_fashion.Row(job)
    say("ask")
    for line in sys.stdin:
        start = time.perf_counter()
        accuracy = row.train(int(line))
        seconds = time.perf_counter() - start
        say("trained", seed=int(line), accuracy=accuracy, seconds=seconds)
        say("ask")


def say(event, **content):
    """Prints an event."""
    print(json.dumps({"event": event, **content}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
