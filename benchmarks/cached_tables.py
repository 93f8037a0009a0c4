"""The runs of `cached_steps.py` as tables."""

import json

import numpy as np
from report import markdown_table, write_section
from step_cases import PAIRS

TITLE = "Steps with a teacher cache"
CASES = {
    "floor": "(a) teacher forward, student forward and backward",
    "keras.distillation": "(b) `keras.distillation.Distiller`, LogitsDistillation",
    "DiffKD, teacher": "(c) DiffKD features",
    "DiffKD, cache": "(d) DiffKD features, cache",
    "KD, teacher": "KD",
    "KD, cache": "(e) KD, cache",
}
# The cache that a case of CASES reads, and the case without it.
READERS = {
    "KD, cache": ("logits", "KD, teacher"),
    "DiffKD, cache": ("logits and features", "DiffKD, teacher"),
}


def write_tables(runs, path):
    """Writes the section of a Markdown file.

    Args:
        runs: Path of the JSON lines.
        path: Path of the Markdown file.
    """
    about, *lines = [json.loads(line) for line in runs.read_text().splitlines()]
    parts = [
        "Seconds per step, TensorFlow, one thread: medians, and ratios to (a) of the "
        "same turn with quartiles, on the clock and of the processor's time. The "
        "machine did other work at the same time, so seconds about a cache are those "
        "of the processor, except for a batch to read.",
    ]
    for facts in (line for line in lines if "caches" in line):
        steps = [
            line for line in lines if line["pair"] == facts["pair"] and "case" in line
        ]
        parts += [step_table(facts, steps), cache_table(facts, steps)]
    parts.append(
        f"{about['about']}. Command: `python benchmarks/cached_steps.py`; the steps "
        "are in `benchmarks/runs/cached_steps.jsonl`."
    )
    text = "\n\n".join(parts)
    print(text)
    write_section(path, TITLE, text)


def step_table(facts, steps):
    """Returns the table of the steps of one pair of networks."""
    clock, processor = by_case(steps, "clock"), by_case(steps, "processor")
    rows = []
    for case, title in CASES.items():
        row = [title]
        for times in (clock, processor):
            ratios = times[case] / times["floor"]
            low, middle, high = np.percentile(ratios, [25, 50, 75])
            row.append(f"{np.median(times[case]):.3f}")
            row.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        rows.append(row)
    teacher, student, (size, *_), classes, *_ = PAIRS[facts["pair"]]
    title = (
        f"**{teacher} to {student}, {size}x{size}, {classes} classes, batch "
        f"{facts['batch_size']}, {len(clock['floor'])} turns**"
    )
    header = ["step", "s/step", "ratio", "of processor", "ratio"]
    return f"{title}\n\n{markdown_table(header, rows)}"


def cache_table(facts, steps):
    """Returns the table of the caches of one pair of networks."""
    processor, batch = by_case(steps, "processor"), facts["batch_size"]
    rows = []
    for case, (kept, live) in READERS.items():
        cache = facts["caches"][kept]
        saved = np.median(processor[live] - processor[case]) / batch
        built = cache["processor_per_view"]
        rows.append(
            [
                kept,
                f"{cache['bytes_per_view']:,}",
                f"{cache['bytes_on_disk_per_view'] / 1e3:,.2f} MB",
                f"{1e3 * built:.1f} s",
                f"{1e3 * saved:.1f} s",
                f"{built / saved:.1f}",
                f"{1e3 * facts['reading'][case]:.1f} ms",
            ]
        )
    header = [
        "cache",
        "bytes per view",
        "1,000 views",
        "to build them",
        "an epoch of them saves",
        "epochs per view until it has paid",
        "a batch takes to read",
    ]
    images = f"Images alone: {1e3 * facts['reading']['images']:.1f} ms."
    return f"{markdown_table(header, rows)}\n\n{images}"


def by_case(steps, what):
    """Returns a dict from case to the array of its seconds, turn by turn."""
    cases = {}
    for step in steps:
        cases.setdefault(step["case"], []).append((step["turn"], step[what]))
    return {
        case: np.array([s for _, s in sorted(each)]) for case, each in cases.items()
    }
