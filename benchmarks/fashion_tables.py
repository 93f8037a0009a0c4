"""Turns the runs in benchmarks/runs/fashion into a section of docs/results.md.

    python benchmarks/fashion_tables.py

Rows that have fewer seeds than `--least_seeds` are left out and named below the table;
if rows have different seeds, the tables tell how many.
Draws docs/fashion_gains.svg, too.
"""

import functools
import itertools
import json
from pathlib import Path

import numpy as np
from absl import app, flags
from comparison import (
    ALONE,
    differences_table,
    first_seeds,
    gains_table,
    same_seeds,
)
from digits_methods import BALANCED
from fashion_methods import (
    BRANCHES,
    DIFFKD,
    METHODS,
    SAME_WEIGHT_METHODS,
    SAME_WEIGHTS,
    VARIANTS,
)
from fashion_runs import (
    LEARNING_RATES,
    REGIMES,
    STUDENTS,
    TUNED,
    TUNED_WEIGHTS,
    TUNING_SEEDS,
    Cell,
    cell_file,
    chosen_setting,
    task_of,
)
from finished_runs import read_lines
from gains_figure import draw_gains
from report import write_section

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "benchmarks" / "runs" / "fashion"
TITLE = "Fashion-MNIST: all methods"
CHOICES = {TUNED: "Tuned weights", BALANCED: "Balanced weights", 1.0: "Weight 1"}
RIVALS = ALONE, "KD", "FitNet"
FIGURE = "fashion_gains.svg"
PARAMETERS = {"20k": "20,146", "5k": "5,310"}
OPTIMIZERS = {"sgd": "SGD, momentum 0.9", "adamw": "AdamW, weight decay 0.004"}

FOLDER = flags.DEFINE_string("folder", str(RUNS), "Folder of the runs.")
LEAST = flags.DEFINE_integer("least_seeds", 3, "Seeds of a row.", lower_bound=2)
PAGE = flags.DEFINE_string("page", "docs/results.md", "The page of the section.")


class CellResults:
    """The reported students of one cell.

    Args:
        records: Dict from `Task` to record.
        cell: A `Cell`.
        least_seeds: Integer: with fewer seeds, counted from the first one, there is no
            row.

    Attributes:
        seeds: Integer: seeds of the row with the most of them.
        unfinished: Dict from the rows that are left out to how many seeds they have.
    """

    def __init__(self, records, cell, least_seeds):
        self.cell = cell
        self._records, self._least_seeds = records, least_seeds
        self._by_setting = {}
        for task, record in records.items():
            if task.stage == "report":
                setting = task.method, task.weight, task.learning_rate
                self._by_setting.setdefault(setting, {})[task.seed] = record
        self.seeds = max(map(len, self._by_setting.values()), default=0)
        self.unfinished = {}

    def row(self, method, choice, of=None):
        """Returns accuracies by seed of a method, or `None` if it has too few.

        Args:
            method: Name of a method or of a variant.
            choice: How its weight is chosen: "tuned", "balanced" or a number.
            of: The method whose tuned weight it is, if it is another.
        """
        found = self.found(method, choice, of) or {}
        records = first_seeds(found)
        if len(records) < self._least_seeds:
            if found:
                self.unfinished[row_name(method, choice)] = len(records)
            return None
        return np.array([record["accuracy"] for record in records])

    def found(self, method, choice, of=None):
        """Returns a dict from seed to record, or `None` if the weight is unknown."""
        setting = chosen_setting(self._records, self.cell, of or method, choice)
        return setting and self._by_setting.get((method, *setting), {})

    def rows(self, choice):
        """Returns `(accuracies, weights)` by method, the student alone first."""
        chosen = {ALONE: TUNED} | {m: choice for m in METHODS if m != ALONE}
        if choice != TUNED:
            chosen[ALONE] = 1.0
        rows = {method: self.row(method, each) for method, each in chosen.items()}
        accuracies = {name: row for name, row in rows.items() if row is not None}
        weights = {name: self._weight(name, chosen[name]) for name in accuracies}
        return accuracies, weights

    def _weight(self, method, choice):
        weight, rate = chosen_setting(self._records, self.cell, method, choice)
        if method == ALONE:
            return f"rate {rate:g}"
        if weight != BALANCED:
            return f"{weight:g}"
        settled = [record["balanced"] for record in self.found(method, choice).values()]
        return ", ".join(
            f"{np.mean([each[name] for each in settled]):.2g}" for name in settled[0]
        )


def row_name(method, choice):
    """Returns the name of a row that is not finished."""
    return f"{method}, {choice if isinstance(choice, str) else f'weight {choice:g}'}"


def cell_tables(results, usual_seeds=None):
    """Returns the tables of a cell as Markdown, or `""` if there is nothing to show.

    Args:
        results: `CellResults`.
        usual_seeds: Optional integer, as for `gains_table`.
    """
    parts, kd = [], results.row("KD", TUNED)
    also = {} if kd is None else {"over tuned KD": kd}
    for choice, text in CHOICES.items():
        accuracies, weights = results.rows(choice)
        if len(accuracies) > 1 and ALONE in accuracies:
            table = gains_table(
                accuracies,
                ALONE,
                {"weight": weights},
                also=also,
                usual_seeds=usual_seeds,
            )
            parts += [f"{text}:", table]
    for text, pairs in (
        ("Balanced weights (first) against tuned ones (second):", balanced(results)),
        (f"{DIFFKD}, balanced (first), and tuned rivals:", rivals(results)),
        (
            f"{SAME_WEIGHT_METHODS[1]} (first) and {SAME_WEIGHT_METHODS[0]}:",
            same_weights(results),
        ),
        (f"Variants (first) of {DIFFKD} with its tuned weight:", variants(results)),
        ("KDiffusion without its teacher:", branches(results)),
    ):
        if pairs := complete(pairs):
            parts += [text, differences_table(pairs, usual_seeds=usual_seeds)]
    if parts and results.unfinished:
        names = [f"{name} ({n} seeds)" for name, n in results.unfinished.items()]
        parts.append(f"Not finished: {', '.join(names)}.")
    return "\n\n".join(parts)


def complete(pairs):
    """Returns the pairs of which both have a row."""
    return {
        name: pair
        for name, pair in pairs.items()
        if all(values is not None for values in pair)
    }


def balanced(results):
    """Returns the pairs of balanced and tuned rows, by method."""
    return {
        method: (results.row(method, BALANCED), results.row(method, TUNED))
        for method in METHODS
        if method != ALONE
    }


def rivals(results):
    """Returns the pairs of DiffKD without a search and rivals with one."""
    diffkd = results.row(DIFFKD, BALANCED)
    return {name: (diffkd, results.row(name, TUNED)) for name in RIVALS}


def same_weights(results):
    """Returns the pairs that tell the worth of denoising, by their weight."""
    fitnet, diffkd = SAME_WEIGHT_METHODS
    return {
        f"weight {weight:g}": (results.row(diffkd, weight), results.row(fitnet, weight))
        for weight in SAME_WEIGHTS
    }


def variants(results):
    """Returns the pairs of a variant and the method that it varies."""
    return {
        name.removeprefix(f"{parent}, "): (
            results.row(name, TUNED, of=parent),
            results.row(parent, TUNED),
        )
        for name, (_, parent) in VARIANTS.items()
        if parent is not None
    }


def branches(results):
    """Returns the pairs that tell what the branches of KDiffusion do on their own."""
    kdiffusion, alone = results.row("KDiffusion", TUNED), results.row(BRANCHES, 0.0)
    return {
        f"KDiffusion, tuned, against {BRANCHES}": (kdiffusion, alone),
        f"{BRANCHES}, against {ALONE}": (alone, results.row(ALONE, 1.0)),
    }


def figure_panel(results):
    """Returns the rows of a panel of `draw_gains`, over the common learning rate."""
    panel, reference = {}, results.row(ALONE, 1.0)
    if reference is None:
        return panel
    for choice, text in CHOICES.items():
        accuracies, _ = results.rows(choice)
        for method, values in accuracies.items():
            # The student alone is a row if tuning has changed its learning rate.
            if method != ALONE or not np.array_equal(values, reference):
                panel.setdefault(method, {})[text] = same_seeds(values, reference)
    # In the order of the methods, not of their weights.
    return {method: panel[method] for method in METHODS if method in panel}


def read_results(folder, least_seeds):
    """Returns `(list of CellResults, machines)`.

    Args:
        folder: Folder of the runs.
        least_seeds: Integer.
    """
    found, machines = [], {}
    for student, regime, optimizer in itertools.product(
        STUDENTS, REGIMES, LEARNING_RATES
    ):
        cell = Cell(regime, student, optimizer)
        records = read_lines(cell_file(folder, cell))
        if not records:
            continue
        # The teacher of the newest line is the one whose students are compared.
        task = functools.partial(
            task_of, teacher=records[-1]["teacher"], epochs=REGIMES[regime].epochs
        )
        tasks = {task(record): record for record in records}
        tasks.pop(None, None)
        machines |= dict.fromkeys(record["machine"] for record in tasks.values())
        found.append(CellResults(tasks, cell, least_seeds))
    return found, list(machines)


def title_of(cell):
    """Returns the title of a cell's tables."""
    return (
        f"{REGIMES[cell.regime].title}; student of {PARAMETERS[cell.student]} "
        f"parameters; {OPTIMIZERS[cell.optimizer]}, rate {cell.learning_rate:g}"
    )


def section(folder, least_seeds):
    """Returns `(Markdown, panels of the figure)`, empty if nothing is finished.

    Args:
        folder: Folder of the runs.
        least_seeds: Integer.
    """
    results, machines = read_results(folder, least_seeds)
    seeds = max((each.seeds for each in results), default=0)
    tables, panels = [], {}
    for each in results:
        if text := cell_tables(each, seeds):
            tables.append(f"**{title_of(each.cell)}**\n\n{text}")
            panels[title_of(each.cell)] = figure_panel(each)
    if not tables:
        return "", {}
    teacher = json.loads((folder / "teacher.json").read_text())
    introduction = f"""\
Teacher `fashion_teacher`, 176,090 parameters, trained on the first
{teacher["examples"]:,} training images with flips, {teacher["epochs"]} epochs:
{100 * teacher["test_accuracy"]:.2f}% of the test images. Students train without
augmentation, batches of 128, a cosine, from stored outputs of the teacher (float16).

Tuning, for every method: {len(TUNED_WEIGHTS)} weights of its matching loss
({", ".join(f"{weight:g}" for weight in TUNED_WEIGHTS)}; of the student alone:
{len(TUNED_WEIGHTS)} learning rates) with {len(TUNING_SEEDS)} seeds each, judged on the
last 5,000 training images, which neither teacher nor these students train on. Reported:
the 10,000 test images, {seeds} other seeds, which draw the labeled images, the weights
and the order, the same for all methods. A column tells where there are fewer seeds;
gains are those of these seeds. Mean ± standard deviation; gains over the student alone,
with 95% intervals; p: paired t-test, adjusted by Holm's method for each table. Tuned
weights compare with the student alone at its tuned learning rate, the other tables and
the figure at the common one; the figure shows the tuned rate as a row.
Balanced: no search; the weights shown are those that
the runs settled on. These runs are older than the limit to how fast such a weight
rises. Nine of them (KD, FitNet, DiffKD on both; three seeds), repeated with it on
another processor, settled on weights within 14% and ended 0.0 to 0.5 points higher.
With unlabeled images, a quarter of each batch is labeled, and the task loss is the
mean over these."""
    origin = f"{'; '.join(machines)}. Commands: `python benchmarks/fashion.py "
    origin += "--data_dir=FOLDER`, `python benchmarks/fashion_tables.py`."
    figure = f"![Gains of all methods]({FIGURE})"
    return "\n\n".join([introduction, figure, *tables, origin]), panels


def main(argv):
    """Prints the tables, writes them into the page and draws the figure."""
    del argv
    text, panels = section(Path(FOLDER.value), LEAST.value)
    if not text:
        raise SystemExit(f"No row in {FOLDER.value} has {LEAST.value} seeds yet.")
    print(text)
    write_section(PAGE.value, TITLE, text)
    draw_gains(panels, Path(PAGE.value).with_name(FIGURE))


if __name__ == "__main__":
    app.run(main)
