"""The students of `digits_defaults.py`, and their tables."""

import numpy as np
from comparison import ALONE, first_seeds, gains_table
from digits_methods import BALANCED, DIFFKD, KD_FEATURES
from digits_training import BATCH_SIZE
from report import machines_of

METHODS = ["KD", "FitNet", KD_FEATURES, DIFFKD, "DiffKD (features)", "DiffKD (logits)"]
WEIGHTS = {BALANCED: "balanced", 1.0: "weight 1"}
# AdamW's rates: the best of 0.003, 0.01, 0.03 and 0.1 for the student alone, with two
# seeds on images that were held out, and Keras's default.
LEARNING_RATES = {"sgd": (0.1,), "adamw": (0.03, 0.001)}
TITLES = {"sgd": "SGD, momentum 0.9", "adamw": "AdamW, weight decay 0.004"}
EPOCHS = 40


def tasks(rate, seeds):
    """Lists the students to train, seed by seed."""
    rows = [(ALONE, 0.0)]
    rows += [(method, weight) for weight in WEIGHTS for method in METHODS]
    return [
        ("report", method, rate, weight, seed)
        for seed in range(seeds)
        for method, weight in rows
    ]


def report(records, least_seeds=3):
    """Returns the tables as Markdown; rows that have fewer seeds are left out.

    Args:
        records: List of dicts, the lines of `benchmarks/runs/digits_defaults.jsonl`.
        least_seeds: Integer.
    """
    parts = [
        f"`digits_student`, 1,070 parameters, {EPOCHS} epochs of batches of "
        f"{BATCH_SIZE}, all 1,352 images labeled, a cosine; 445 test images: one is "
        "0.22 points. Nothing was tuned for a method. Gains are those over the student "
        "alone, with 95% intervals; p: paired t-test, adjusted by Holm's method for "
        "each table."
    ]
    for optimizer, rates in LEARNING_RATES.items():
        for rate in rates:
            rows = rows_of(records, optimizer, rate, least_seeds)
            if ALONE in rows and len(rows) > 1:
                count = len(rows[ALONE])
                title = f"**{TITLES[optimizer]}, rate {rate:g}; {count} seeds**"
                parts += [title, gains_table(rows, ALONE)]
    return "\n\n".join(
        [*parts, f"{machines_of(records)}; `python benchmarks/digits_defaults.py`."]
    )


def rows_of(records, optimizer, rate, least_seeds):
    """Returns a dict from the names of rows to accuracies, ordered by seed."""
    found = {}
    for record in records:
        _, method, of_task, weight, seed = record["task"]
        if (record["settings"]["optimizer"], of_task) == (optimizer, rate):
            name = method if method == ALONE else f"{method}, {WEIGHTS[weight]}"
            found.setdefault(name, {})[seed] = record["accuracy"]
    rows = {name: np.array(first_seeds(by_seed)) for name, by_seed in found.items()}
    return {name: row for name, row in rows.items() if len(row) >= least_seeds}
