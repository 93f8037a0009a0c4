"""Distils a detector and a segmenter on digit scenes over several seeds.

Runs the commands, so that what is measured is what a user gets: for every seed a
teacher, and from it the student alone, the student with FitNet (mean squared error of
the features) and with DiffKD. Prints tables and writes them into docs/results.md.

    python benchmarks/digit_scenes.py --seeds=5
"""

import concurrent.futures
import json
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from comparison import gains_table, interval_of_mean
from report import describe_machine, markdown_table, write_section
from scene_commands import command

flags.DEFINE_integer("seeds", 5, "Seeds, of teachers and students.", lower_bound=2)
flags.DEFINE_integer("workers", 2, "Processes at the same time.", lower_bound=1)
flags.DEFINE_string("data_dir", "data", "TFDS data folder.")
flags.DEFINE_string("runs", "runs/digit_scenes", "Folder of the runs; goes on there.")
flags.DEFINE_string("output", "docs/results.md", "File of the report.")

# Task: (experiment, metrics of metrics.jsonl with their names, methods).
TASKS = {
    "detection": (
        "digit_scenes_retinanet",
        {"val_mAP": "mAP", "val_mAP50": "mAP50"},
        {"student alone": "none", "FitNet": "fitnet", "DiffKD": "diffkd_features"},
    ),
    "segmentation": (
        "digit_scenes_deeplabv3",
        {"val_mean_iou": "mIoU"},
        {
            "student alone": "none",
            "FitNet": "fitnet",
            "DiffKD": "diffkd_features",
            "KD of the pixels": "kd",
        },
    ),
}


def train_seed(task, seed):
    """Trains a teacher and its students; returns the last metrics of each."""
    root = Path(flags.FLAGS.runs) / f"{task}_{seed}"
    teacher, experiment = root / "teacher", TASKS[task][0]
    options = {
        "data_dir": flags.FLAGS.data_dir,
        "capture_output": True,
        "text": True,
    }
    command("diffkd-train-teacher", experiment, teacher, seed, **options)
    results = {"teacher": last_metrics(teacher / "teacher")}
    for title, method in TASKS[task][2].items():
        folder = root / method
        command(
            "diffkd-distill",
            experiment,
            folder,
            seed,
            f"--method={method}",
            f"--teacher={teacher / 'teacher.keras'}",
            **options,
        )
        results[title] = last_metrics(folder)
    return results


def last_metrics(folder):
    """Returns the last line of the stage's metrics."""
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def train_all(tasks, seeds):
    """Returns, for every task, the results of every seed in order."""
    jobs = [(task, seed) for seed in range(seeds) for task in tasks]
    start = time.perf_counter()
    results = {task: [None] * seeds for task in tasks}
    with concurrent.futures.ThreadPoolExecutor(flags.FLAGS.workers) as pool:
        futures = {pool.submit(train_seed, *job): job for job in jobs}
        for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
            task, seed = futures[future]
            results[task][seed] = future.result()
            left = (time.perf_counter() - start) / done * (len(jobs) - done)
            print(f"[{done}/{len(jobs)}] {task} {seed} ({left:.0f} s left)", flush=True)
    return results


def report(results, seeds):
    """Returns the tables as Markdown."""
    parts = [
        f"4,000 scenes to train, 512 to test, {seeds} seeds with a teacher each. Mean "
        "± standard deviation; gains over the student alone with 95% intervals; p of "
        "the paired t-test, adjusted by Holm's method. Settings of the experiment "
        "files; nothing was tuned for a method."
    ]
    for task, (experiment, metrics, _) in TASKS.items():
        for key, name in metrics.items():
            values = {
                model: np.array([found[model][key] for found in results[task]])
                for model in results[task][0]
            }
            mean, half = interval_of_mean(100 * values.pop("teacher"))
            parts += [
                f"**{task.capitalize()}, {name}** (`{experiment}.flags`; teachers: "
                f"{mean:.2f} ± {half:.2f}, 95% interval)",
                gains_table(values, "student alone", title=f"{name}, %"),
            ]
        parts.append(seconds_table(results[task]))
    return "\n\n".join(parts)


def seconds_table(results):
    """Returns how long an epoch took, in the runs that were reported."""
    names = list(results[0])
    seconds = [
        f"{np.mean([found[name]['seconds'] for found in results]):.1f}"
        for name in names
    ]
    return markdown_table(["", *names], [["seconds per epoch", *seconds]])


def main(argv):
    """Trains everything that is missing, and writes the report."""
    del argv
    options = flags.FLAGS
    start = time.perf_counter()
    text = report(train_all(list(TASKS), options.seeds), options.seeds)
    minutes = (time.perf_counter() - start) / 60
    text += (
        f"\n\n{describe_machine()}; {minutes:.0f} minutes with {options.workers} "
        f"processes. Command: `python "
        f"benchmarks/digit_scenes.py --seeds={options.seeds}`."
    )
    print(text)
    write_section(options.output, "Detection and segmentation on digit scenes", text)


if __name__ == "__main__":
    app.run(main)
