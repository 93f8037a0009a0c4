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
from report import machines_of, markdown_table


def report(records, least_seeds=5):
    """Returns the tables as Markdown.

    Args:
        records: List of dicts, the lines of `benchmarks/runs/digit_scenes.jsonl`.
        least_seeds: Integer; methods with fewer seeds are left out.
    """
    parts = [
        "4,000 scenes to train, 512 to test; each seed has its own teacher. Values of "
        "the test scenes after the last epoch: mean ± standard deviation; gains over "
        "the student alone with 95% intervals; p of the paired t-test, adjusted by "
        "Holm's method. Settings of the experiment files; weight 1, or balanced "
        "weights where it says so; nothing was tuned for a method."
    ]
    for name, task in TASKS.items():
        found = by_method(
            [record for record in records if record["task"] == name], least_seeds
        )
        if ALONE not in found:
            continue
        for key, title in task.metrics.items():
            parts += metric_tables(name, task, found, key, title)
        parts.append(seconds_table(found))
    command = "`python benchmarks/digit_scenes.py`"
    return "\n\n".join([*parts, f"{machines_of(records)}; {command}."])


def by_method(records, least_seeds):
    """Returns a dict from method to the records of its first seeds, in their order.

    The teacher comes first; methods with fewer seeds than `least_seeds` are left out.
    """
    found = {name: {} for name in (TEACHER, *METHODS)}
    for record in records:
        found[record["method"]][record["seed"]] = record
    found = {name: first_seeds(by_seed) for name, by_seed in found.items()}
    return {name: rows for name, rows in found.items() if len(rows) >= least_seeds}


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


def seconds_table(found):
    """Returns how long an epoch took."""
    rows = [
        [name, f"{np.mean([r['seconds'] / epochs_of(r) for r in records]):.1f}"]
        for name, records in found.items()
    ]
    return markdown_table(["", "seconds per epoch"], rows)


def epochs_of(record):
    """Returns the number of epochs of a record."""
    return len(next(iter(record["curves"].values())))
