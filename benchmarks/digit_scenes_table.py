"""The tables of `digit_scenes.py`."""

import numpy as np
from comparison import (
    ALONE,
    differences_table,
    first_seeds,
    gains_table,
    interval_of_mean,
)
from digit_scenes_models import AT_WEIGHT_1, METHODS, TASKS, TEACHER
from report import machines_of


def report(records, least_seeds=3):
    """Returns the tables as Markdown.

    Args:
        records: List of dicts, the lines of `benchmarks/runs/digit_scenes.jsonl`.
        least_seeds: Integer; methods with fewer seeds are named below the tables.
    """
    parts = [
        "4,000 scenes to train, 512 to test; each seed has its own teacher. Values of "
        "the test scenes after the last epoch: mean ± standard deviation; gains over "
        "the student alone with 95% intervals; p of the paired t-test, adjusted by "
        "Holm's method. Settings of the experiment files; weight 1, or balanced "
        "weights where it says so; nothing was tuned for a method."
    ]
    for name, task in TASKS.items():
        found = by_method([record for record in records if record["task"] == name])
        finished = {m: rows for m, rows in found.items() if len(rows) >= least_seeds}
        if ALONE not in finished:
            continue
        for key, title in task.metrics.items():
            parts += metric_tables(name, task, finished, key, title)
        most = len(found[ALONE])
        unfinished = [
            f"{method} ({len(rows)} of {most} seeds)"
            for method, rows in found.items()
            if method not in finished
        ]
        if unfinished:
            parts.append(f"Not finished: {', '.join(unfinished)}.")
    command = "`python benchmarks/digit_scenes.py`"
    return "\n\n".join([*parts, f"{machines_of(records)}; {command}."])


def by_method(records):
    """Returns a dict from method to the records of its first seeds, in their order.

    The teacher comes first; methods without the first seed are left out.
    """
    found = {name: {} for name in (TEACHER, *METHODS)}
    for record in records:
        found[record["method"]][record["seed"]] = record
    found = {name: first_seeds(by_seed) for name, by_seed in found.items()}
    return {name: rows for name, rows in found.items() if rows}


def metric_tables(name, task, found, key, title):
    """Returns the parts about one metric."""
    values = {
        method: np.array([record["curves"][key][-1] for record in records])
        for method, records in found.items()
    }
    teacher = values.pop(TEACHER)
    mean, half = interval_of_mean(100 * teacher)
    parts = [
        f"**{name.capitalize()}, {title}** (`{task.experiment}.flags`; {len(teacher)} "
        f"seeds; teachers: {mean:.2f} ± {half:.2f}, 95% interval)",
        gains_table(values, ALONE, title=f"{title}, %"),
    ]
    pairs = {
        method: (values[f"{method}, balanced"], values[method])
        for method in AT_WEIGHT_1
        if {method, f"{method}, balanced"} <= values.keys()
    }
    if pairs:
        text = f"Balanced weights (first) against weight 1 (second), {title}:"
        parts += [text, differences_table(pairs)]
    return parts
