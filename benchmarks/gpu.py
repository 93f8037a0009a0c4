"""Step times and Fashion-MNIST on one GPU within a few minutes, on JAX.

`gpu.sh` runs it; see there. Every case is a process of its own. They compile at the
same time, because that keeps one core busy and the GPU idle; the steps are timed one
case at a time, in turns, while everything else stands still. Fashion-MNIST trains
whenever nothing is timed, with as many seeds as the time allows: no method begins a
seed before the slowest one is near.

    python benchmarks/gpu.py --write_docs=FILE    FILE, a results.json, as a section
                                                  of docs/results.md
"""

import json
import sys
import time
from pathlib import Path

from absl import app, flags
from gpu_cases import FASHION, QUICK_FASHION, QUICK_WAVES, SMOKE_WAVES, WAVES
from gpu_schedule import Schedule

DATA = flags.DEFINE_string("data", None, "Folder of IDX files; unset: no training.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
MINUTES = flags.DEFINE_float("minutes", 8.0, "Time for everything.", lower_bound=0.1)
DEVICE = flags.DEFINE_enum("device", "gpu", ["gpu", "cpu"], "What to run on.")
QUICK = flags.DEFINE_boolean("quick", False, "Everything once, and tiny.")
SMOKE = flags.DEFINE_boolean("smoke", False, "Few cases: finds what is missing.")
TURNS = flags.DEFINE_integer("turns", 7, "Turns of each timed case.", lower_bound=1)
STEPS = flags.DEFINE_boolean("steps", True, "Time steps, not only train.")
SEEDS = flags.DEFINE_integer("seeds", 30, "The most seeds.", lower_bound=1)
WRITE_DOCS = flags.DEFINE_string(
    "write_docs", None, "Turn this results.json into a section, and do nothing else."
)
DOCS = flags.DEFINE_string("docs", "docs/results.md", "The file of the section.")


def main(argv):
    """Runs what the flags ask for."""
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    if WRITE_DOCS.value:
        import gpu_tables

        results = json.loads(Path(WRITE_DOCS.value).read_text())
        gpu_tables.write(results, DOCS.value)
        return
    if not OUTPUT.value:
        raise app.UsageError("--output=FOLDER is required")
    results = run(Path(OUTPUT.value))
    import gpu_tables

    print(gpu_tables.as_text(results))


def _command():
    """Returns the command without its folder of results."""
    arguments = [a for a in sys.argv[1:] if not a.startswith("--output")]
    return " ".join(["benchmarks/gpu.sh", *arguments])


def run(output):
    """Measures and trains; writes and returns the results."""
    started = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    waves, regimes = WAVES, FASHION
    if QUICK.value:
        waves, regimes = QUICK_WAVES, QUICK_FASHION
    elif SMOKE.value:
        waves = SMOKE_WAVES
        regimes = [{**FASHION[0], "rows": FASHION[0]["rows"][:4], "epochs": 5}]
    if not DATA.value:
        regimes = []
    if not STEPS.value:
        waves = []
    with Schedule(
        output,
        end=started + 60 * MINUTES.value,
        device=DEVICE.value,
        about={
            "command": _command(),
            "minutes": MINUTES.value,
            "quick": QUICK.value or SMOKE.value,
        },
    ) as schedule:
        if regimes:
            schedule.start_training(
                regimes, DATA.value, SEEDS.value, delayed=len(waves) > 1
            )
        for number, wave in enumerate(waves):
            # Half of the time for compiling the first one at most.
            left = schedule.left()
            schedule.time_steps(wave, left / (2 if number == 0 else 1.5), TURNS.value)
            schedule.start_delayed()
        schedule.train_until_end()
    return json.loads((output / "results.json").read_text())


if __name__ == "__main__":
    app.run(main)
