"""The results of `gpu.py` as tables."""

import numpy as np
from comparison import gains_table, mean_and_deviation
from gpu_cases import ALONE, FLOOR, STEPS
from report import markdown_table, write_section

# Dense TFLOP/s of the tensor cores: float32 tensors are computed as TF32 by default.
PEAKS = {
    "H100": {"float32": 494.0, "mixed_bfloat16": 989.0},
    "H200": {"float32": 494.0, "mixed_bfloat16": 989.0},
    "A100": {"float32": 156.0, "mixed_bfloat16": 312.0},
}


def write(results, path):
    """Writes step times and accuracies as two sections of a Markdown file.

    A section without results stays as it is, and so do accuracies of one seed.
    """
    device = results["about"]["device"]
    steps = step_tables(results["steps"], device)
    if steps:
        parts = [_origin(results), *steps, *_left_out(results)]
        write_section(path, f"Step times on one GPU: JAX, {device}", _joined(parts))
    training = training_tables(results, least_seeds=2)
    if training:
        parts = [_origin(results), *training]
        write_section(path, f"Fashion-MNIST on one GPU: JAX, {device}", _joined(parts))


def as_text(results):
    """Returns the tables of the results, as Markdown."""
    device = results["about"].get("device", "")
    tables = step_tables(results["steps"], device) + training_tables(results)
    return _joined([_origin(results), *tables, *_left_out(results)])


def _joined(parts):
    return "\n\n".join(parts)


def _origin(results):
    about = results["about"]
    return (
        f"{about.get('machine', '')}, device: {about.get('device', 'none')}. "
        f"Command: `{about['command']}`."
    )


def _left_out(results):
    """Returns a list of one paragraph, or of none."""
    lines = [f"- {_reason(text)}" for text in results["skipped"]]
    return ["Left out:\n\n" + "\n".join(lines)] if lines else []


def _reason(text):
    # The last lines of a process that failed follow the first.
    first = text.splitlines()[0]
    if "RESOURCE_EXHAUSTED" not in text:
        return first
    case = first.split(": its process")[0]
    return f"{case}: out of memory, which all cases share"


def step_tables(steps, device):
    """Returns one table for each pair of models, batch size and precision."""
    timed = [step for step in steps if step["times"]]
    titles = dict.fromkeys((step["title"], step["dtype"]) for step in timed)
    tables = []
    for title, dtype in titles:
        cases = {
            step["case"]: step
            for step in timed
            if (step["title"], step["dtype"]) == (title, dtype)
        }
        rows = [_step_row(cases[key], cases, device) for key in STEPS if key in cases]
        columns = ["step", "ms", "ratio", "images/s", "first step, s", "memory, MiB"]
        peak = _peak(device, dtype)
        if peak:
            columns.append(f"of {peak:.0f} TFLOP/s")
        tables.append(f"**{title}, {dtype}**\n\n{markdown_table(columns, rows)}")
    if tables:
        tables.insert(
            0,
            "Medians over turns, cases in turns, nothing else on the device; ratio: to "
            "the first row, median over the turns. First step: tracing and compiling, "
            "several cases at once. Memory: peak of the process on the device.",
        )
    return tables


def _step_row(step, cases, device):
    times = np.array(step["times"])
    seconds = np.median(times)
    ratio = ""
    if FLOOR in cases:
        floor = np.array(cases[FLOOR]["times"])
        turns = min(len(floor), len(times))
        ratio = f"{np.median(times[:turns] / floor[:turns]):.2f}"
    memory = step.get("peak_bytes")
    row = [
        STEPS[step["case"]],
        f"{1000 * seconds:.2f}",
        ratio,
        f"{step['batch_size'] / seconds:,.0f}",
        f"{step['first_step']:.1f}",
        f"{memory / 2**20:,.0f}" if memory else "",
    ]
    if peak := _peak(device, step["dtype"]):
        row.append(f"{100 * step['flops'] / seconds / (peak * 1e12):.1f}%")
    return row


def _peak(device, dtype):
    return next((p[dtype] for name, p in PEAKS.items() if name in device), None)


def training_tables(results, least_seeds=1):
    """Returns one table of accuracies for each regime.

    Args:
        results: The results of `gpu.py`.
        least_seeds: Integer, how many seeds a regime needs to be shown.
    """
    tables = []
    for regime in results["about"].get("regimes", []):
        accuracies = common_seeds(
            [run for run in results["training"] if run["title"] == regime["title"]],
            regime["rows"],
        )
        if not accuracies:
            continue
        seeds = len(next(iter(accuracies.values())))
        if seeds < least_seeds:
            continue
        if seeds > 1 and ALONE in accuracies and len(accuracies) > 1:
            table = gains_table(accuracies, ALONE)
        else:
            rows = [
                [name, mean_and_deviation(v) if seeds > 1 else f"{100 * v[0]:.2f}"]
                for name, v in accuracies.items()
            ]
            table = markdown_table(["", "test accuracy, %"], rows)
        title = f"**Fashion-MNIST, {regime['title']}**, {seeds} seeds of every row"
        tables.append(f"{title}\n\n{table}")
    if tables:
        teacher = results["teacher"]["accuracy"]
        tables.insert(
            0,
            "Test accuracy. Teacher `fashion_teacher` (176,090 parameters): "
            f"{100 * teacher:.2f}%, trained on all training images; student "
            "`fashion_student` (20,146 parameters), SGD 0.05, momentum 0.9, cosine, "
            "batch 128, no augmentation. The weights 5, 10 and 30 were the best of "
            "earlier trials on the same test images. Gains: paired over seeds, which "
            "draw images, weights and order.",
        )
    return tables


def common_seeds(runs, names):
    """Returns arrays of accuracies by row, of the seeds that all rows have.

    Args:
        runs: List of dicts of `row`, `seed` and `accuracy`.
        names: The rows in their order; those without a run are left out.
    """
    found = {name: {} for name in names}
    for run in runs:
        found[run["row"]][run["seed"]] = run["accuracy"]
    found = {name: by_seed for name, by_seed in found.items() if by_seed}
    if not found:
        return {}
    common = sorted(set.intersection(*map(set, found.values())))
    return {
        name: np.array([by_seed[seed] for seed in common])
        for name, by_seed in found.items()
        if common
    }
