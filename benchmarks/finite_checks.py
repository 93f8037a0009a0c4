"""What it costs to check that a step is finite before it is applied.

    python benchmarks/finite_checks.py

Two distillers, one traced with the checks and one without, train in turns in one
process, a step at a time. The table shows medians over the turns, and the median and
the quartiles of the ratios within a turn, of the time on the clock and of the seconds
of processor, which other programs disturb less. It goes to the terminal and into
docs/results.md. TensorFlow without XLA, on the CPU where there is no GPU.
"""

import contextlib
import os
import sys
import time
from unittest import mock

from absl import app, flags

flags.DEFINE_string("output", "docs/results.md", "File to write the table into.")

DIGIT = (8, 8, 1)
CASES = {
    # title: teacher, student, input shape, classes, method, turns
    "digits, KD": ("digits_teacher", "digits_student", DIGIT, 10, "kd", 2000),
    "digits, DiffKD": (
        "digits_teacher",
        "digits_student",
        (8, 8, 1),
        10,
        "diffkd",
        800,
    ),
    "WRN-40-2 to WRN-40-1, DiffKD": (
        "wrn_40_2",
        "wrn_40_1",
        (32, 32, 3),
        100,
        "diffkd",
        150,
    ),
}
BATCH_SIZE = 64


@contextlib.contextmanager
def unchecked():
    """Leaves all checks out of the steps that are traced meanwhile."""
    import tensorflow as tf

    from keras_diffkd.training import step_count
    from keras_diffkd.training.tensorflow import step as tensorflow

    with contextlib.ExitStack() as patches:
        for owner, name, replacement in (
            (tensorflow, "finiteness", lambda *args: {}),
            (tensorflow, "guard", lambda *args: tf.constant(True)),
            (step_count.StepCount, "update_state", lambda *args: None),
        ):
            patches.enter_context(mock.patch.object(owner, name, replacement))
        yield


def build(teacher, student, shape, classes, method):
    """Builds and compiles a distiller, and its data."""
    import keras
    import numpy as np
    from step_cases import repeated

    from keras_diffkd import DiffKD, Distiller, LogitsKD
    from keras_diffkd.models import build_model

    keras.utils.set_random_seed(0)
    methods = [LogitsKD() if method == "kd" else DiffKD("features", "features")]
    distiller = Distiller(
        build_model(teacher, shape, classes),
        build_model(student, shape, classes),
        methods,
    )
    distiller.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH_SIZE, *shape)).astype("float32")
    y = rng.integers(0, classes, BATCH_SIZE).astype("int32")
    return distiller, repeated(x, y)


def seconds(distiller, iterator):
    """Returns the seconds of a step, on the clock and of processor."""
    start = time.perf_counter(), time.process_time()
    distiller.train_function(iterator)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def ready(case):
    """Returns a distiller that is traced, and an iterator over its data."""
    distiller, data = build(*case)
    distiller.fit(data, steps_per_epoch=2, verbose=0, shuffle=False)
    return distiller, iter(data)


def measure(case, turns):
    """Returns `(which of both, turn, which clock)` of seconds: checked, plain."""
    import numpy as np

    checked = ready(case)
    with unchecked():
        plain = ready(case)
    times = []
    for turn in range(turns):
        # Whoever comes second finds warm caches: each does in half of the turns.
        order = (checked, plain) if turn % 2 else (plain, checked)
        pair = [seconds(*which) for which in order]
        times.append(pair if turn % 2 else pair[::-1])
    return np.array(times).transpose(1, 0, 2)


def ratios(checked, plain):
    """Formats the median of the ratios of two rows of seconds, and the quartiles."""
    import numpy as np

    low, middle, high = np.percentile(checked / plain, [25, 50, 75])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main(argv):
    """Measures all cases and writes the table."""
    del argv
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np
    from report import describe_machine, markdown_table, write_section

    rows = []
    for title, (*case, turns) in CASES.items():
        print(title, file=sys.stderr, flush=True)
        checked, plain = measure(case, turns)
        rows.append(
            [
                title,
                str(turns),
                f"{1000 * np.median(plain[:, 0]):.2f}",
                f"{1000 * np.median(checked[:, 0]):.2f}",
                ratios(checked[:, 0], plain[:, 0]),
                ratios(checked[:, 1], plain[:, 1]),
            ]
        )
    header = ["", "turns", "ms/step without", "with", "ratio", "ratio of processor"]
    text = (
        "Steps with and without the [checks](numerics.md), batches of "
        f"{BATCH_SIZE}, no XLA; ratios with quartiles. The machine did other work at "
        f"the same time.\n\n{markdown_table(header, rows)}\n\n"
        f"{describe_machine()}. Command: `python benchmarks/finite_checks.py`."
    )
    print(text)
    write_section(flags.FLAGS.output, "Cost of the checks in each step", text)


if __name__ == "__main__":
    app.run(main)
