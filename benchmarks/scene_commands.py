"""Runs the package's commands on digit scenes, for the benchmarks of them."""

import subprocess
import sys
from pathlib import Path


def command(name, experiment, folder, seed, *arguments, data_dir, **options):
    """Runs a command of the package in a process of its own, which must succeed.

    Args:
        name: Its name, such as `"diffkd-distill"`.
        experiment: Name of a file of flags, without its extension.
        folder: Folder of the run.
        seed: Integer.
        *arguments: Further flags.
        data_dir: TFDS data folder.
        **options: Those of `subprocess.run`.
    """
    subprocess.run(
        [
            Path(sys.executable).parent / name,
            f"--flagfile={experiment}.flags",
            f"--run_dir={folder}",
            f"--data_dir={data_dir}",
            f"--seed={seed}",
            *arguments,
        ],
        check=True,
        **options,
    )
