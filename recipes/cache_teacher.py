"""Stores what a teacher computes on the training images: the folder --teacher_cache.

Example:

  diffkd-cache-teacher --flagfile=digits.flags --run_dir=runs/digits \\
      --teacher_cache=runs/digits_cache --cache_views=8

It takes the flags of diffkd-distill, which builds a missing cache, too. It stores the
logits and the layers that --method reads. The same command again resumes a build that
was interrupted, or verifies a finished cache.
"""

from pathlib import Path

from absl import flags as absl_flags

from . import flags, teacher_cache
from .command_line import run_command
from .data import load_data
from .methods import build_methods
from .networks import load_teacher, teaching
from .preflight import check_flags
from .run.directory import RunDirectory
from .training import prepare

# Part of the help of this command.
absl_flags.adopt_module_key_flags(teacher_cache)


def main(argv):
    """Builds the cache that the flags describe."""
    del argv
    teacher_cache.prepare_flags()
    check_flags(("run_dir", "dataset", "teacher", "teacher_cache"), method=True)
    prepare()
    run = RunDirectory(Path(flags.RUN_DIR.value))
    data, methods = load_data(), build_methods(flags.METHOD.value)
    missing = not teacher_cache.is_built()
    teacher = teaching(load_teacher(run, data, methods), data, works=missing)
    cache = teacher_cache.open_or_build(teacher, data, methods)
    print(f"{cache.folder}: {len(cache):,} views, logits and {cache.taps}")


def run():
    """Runs `diffkd-cache-teacher`."""
    run_command("diffkd-cache-teacher", main)
