"""Measures the steps of `step_cases.py` and writes the tables of `step_time.py`."""

import re
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
from report import describe_machine, markdown_table, write_section
from step_cases import PAIRS, TITLES, Case, accelerator, peak_bytes, student_pass

GROWTH = {
    "batch size": ("batch_size", (16, 32, 64, 128)),
    "latent channels": ("latent_channels", (None, 32, 64, 128, 256)),
    "denoising steps": ("num_inference_steps", (1, 2, 5, 10)),
}
REPLICAS = (1, 2, 4)
# Dense TFLOP/s of convolutions of float32 tensors, which JAX runs as TF32 there.
KNOWN_PEAKS = {"H100": 494.0, "H200": 494.0, "A100": 156.0}


def run(options):
    """Prints (and writes) the tables that the flags of `step_time.py` ask for."""
    if options.memory_of:
        print_memory(*options.memory_of.split("/"), jit(options))
        return
    if options.replicas:
        print_replicas(options)
        return
    on_tensorflow = keras.backend.backend() == "tensorflow"
    tables = [cases_table(pair, options) for pair in options.pairs]
    if on_tensorflow and not accelerator():
        tables.append(student_table(options))
    if options.growth:
        tables += [growth_table(what, options) for what in GROWTH]
        if on_tensorflow and not accelerator():
            tables.append(replicas_table(options))
    device = accelerator() or "CPU"
    text = "\n\n".join([header(options), *tables])
    print(text)
    name = "TensorFlow" if on_tensorflow else "JAX"
    write_section(options.output, f"Seconds per step: {name}, {device}", text)


def header(options):
    """Returns the text that says how the numbers were measured."""
    command = (
        f"python benchmarks/step_time.py --backend={options.backend} "
        f"--turns={options.turns} --steps={options.steps}"
    )
    return f"""\
Seconds per step inside `fit`: medians over {options.turns} turns of {options.steps}
steps, cases in turns; ratio: to the first row, median over the turns. All rows include
the optimizer (SGD with momentum) and a loss. First step: with tracing and compiling.
Memory: peak of a process that trains this case alone.

{describe_machine()}, device: {accelerator() or "CPU"}. Command: `{command}`."""


def jit(options):
    """Returns `jit_compile` for `compile`, also for models that are not ours."""
    if options.jit_compile != "auto":
        return options.jit_compile == "true"
    # What `Distiller` decides; Keras's own "auto" is XLA on a CPU too.
    return keras.backend.backend() != "tensorflow" or bool(accelerator())


def cases_table(pair, options):
    """Compares the cases (a) to (d) on one pair of models."""
    names = list(TITLES)
    if keras.backend.backend() != "tensorflow" or jit(options):
        names.remove("a_plain")
    cases = {name: announced(Case(name, pair, jit(options))) for name in names}
    first = {name: case.first_step() for name, case in cases.items()}
    times = in_turns({n: case.seconds for n, case in cases.items()}, options)
    batch = cases["a"].batch_size
    peak = options.peak_tflops or known_peak()
    rows = []
    for name, case in cases.items():
        row = [
            f"({name[0]}) {TITLES[name]}",
            seconds(times[name]),
            ratio(times[name], times["a"]),
            f"{batch / np.median(times[name]):,.0f}",
            f"{first[name]:.1f}",
            memory_of(pair, name, options),
        ]
        if peak:
            used = case.flops() / np.median(times[name])
            row.append(f"{100 * used / (peak * 1e12):.1f}%")
        rows.append(row)
    columns = ["step", "s/step", "ratio", "images/s", "first step, s", "memory, MiB"]
    if peak:
        columns.append(f"of {peak:.0f} TFLOP/s")
    teacher, student, shape, *_ = PAIRS[pair]
    title = f"**{teacher} to {student}, {shape[0]}x{shape[1]}, batch {batch}**"
    return f"{title}\n\n{markdown_table(columns, rows)}"


def student_table(options):
    """Compares batch normalizations in the student's forward and backward pass."""
    passes = {
        "Keras's own batch normalization": student_pass(fused=False),
        "fused": student_pass(fused=True),
    }
    times = in_turns(
        {
            name: lambda steps, step=step: mean_time(step, steps)
            for name, step in passes.items()
        },
        options,
    )
    first = times["Keras's own batch normalization"]
    rows = [
        [name, seconds(values), ratio(first, values)] for name, values in times.items()
    ]
    table = markdown_table(["batch normalization", "s", "times faster"], rows)
    return (
        "**Forward and backward pass of wrn_40_1 alone, 32x32, batch 64, no XLA**"
        f"\n\n{table}"
    )


def growth_table(what, options):
    """Measures how the step of DiffKD on features grows with one quantity."""
    argument, values = GROWTH[what]
    cases = {
        str(value): announced(Case("c", "cifar", jit(options), **{argument: value}))
        for value in values
    }
    for case in cases.values():
        case.first_step()
    times = in_turns({n: case.seconds for n, case in cases.items()}, options)
    first = times[str(values[0])]
    rows = [
        [
            name,
            seconds(times[name]),
            ratio(times[name], first),
            f"{case.batch_size / np.median(times[name]):,.0f}",
        ]
        for name, case in cases.items()
    ]
    table = markdown_table([what, "s/step", "ratio", "images/s"], rows)
    return f"**DiffKD features, WRN pair: growth with {what}**\n\n{table}"


def replicas_table(options):
    """Measures the step on several replicas that share the processor's cores."""
    rows = []
    for count in REPLICAS:
        values = [float(v) for v in child(options, f"--replicas={count}").split()]
        rows.append([str(count), seconds(values), f"{64 / np.median(values):,.0f}"])
    table = markdown_table(["replicas", "s/step", "images/s"], rows)
    return (
        "**DiffKD features, WRN pair: `MirroredStrategy` on logical devices of the "
        "same cores, global batch 64**: the cost of distribution, not its gain; "
        f"each in a process of its own\n\n{table}"
    )


def print_replicas(options):
    """Prints the seconds of a step under a strategy, one number for each turn."""
    from step_cases import on_logical_devices

    case = on_logical_devices(options.replicas, lambda: Case("c", "cifar", False))
    case.first_step()
    print(*(case.seconds(options.steps) for _ in range(options.turns)))


def print_memory(pair, name, jit_compile):
    """Prints the peak memory in MiB of a process that trains one case."""
    case = Case(name, pair, jit_compile)
    case.first_step()
    case.seconds(3)
    print(round((peak_bytes() or peak_resident_bytes()) / 2**20))


def peak_resident_bytes():
    """Returns the most memory that this process has held so far.

    Not `resource.getrusage`: Linux starts its count at the parent's memory.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def memory_of(pair, name, options):
    """Returns the peak memory of a case as text."""
    return f"{int(child(options, f'--memory_of={pair}/{name}')):,}"


def child(options, argument):
    """Runs `step_time.py` for one number in a process of its own."""
    command = [
        sys.executable,
        sys.argv[0],
        f"--backend={options.backend}",
        f"--jit_compile={options.jit_compile}",
        f"--turns={options.turns}",
        f"--steps={options.steps}",
        argument,
    ]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
    return result.stdout.strip().splitlines()[-1]


def in_turns(functions, options):
    """Calls every function in every turn; returns the results by name."""
    results = {name: [] for name in functions}
    start = time.perf_counter()
    for turn in range(options.turns):
        for name, function in functions.items():
            results[name].append(function(options.steps))
        left = (time.perf_counter() - start) / (turn + 1) * (options.turns - turn - 1)
        print(f"turn {turn + 1}/{options.turns}, {left:.0f} s left", file=sys.stderr)
    return results


def announced(case):
    """Says that a case is built, which takes its time."""
    print(f"built ({case.name}) {TITLES[case.name]}", file=sys.stderr, flush=True)
    return case


def mean_time(step, steps):
    """Returns the mean seconds of calling `step`."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def known_peak():
    """Returns the peak TFLOP/s of the accelerator, if it is a known one."""
    device = accelerator() or ""
    return next((peak for key, peak in KNOWN_PEAKS.items() if key in device), None)


def seconds(values):
    """Formats the median of some seconds."""
    return f"{np.median(values):.4f}"


def ratio(values, others):
    """Formats the median of the ratios, turn by turn."""
    return f"{np.median(np.array(values) / np.array(others)):.2f}"
