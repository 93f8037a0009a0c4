"""Finds the runs that repeat a run with other seeds."""

import contextlib

from absl import flags as absl_flags

from . import flags
from .flag_values import changed
from .run.directory import RunDirectory

SEEDS = absl_flags.DEFINE_integer(
    "seeds",
    1,
    "Number of seeds, from --seed on: diffkd-distill repeats everything with each and "
    "the same teacher, in R and R/seeds/<seed>/; diffkd-evaluate prints their means.",
    lower_bound=1,
)


def other_seeds():
    """Returns the seeds after `--seed`, a range of integers."""
    first = flags.SEED.value
    return range(first + 1, first + SEEDS.value)


def repetition(run, seed):
    """Returns the `RunDirectory` of a run's repetition.

    Args:
        run: `RunDirectory` of the first seed.
        seed: int.
    """
    return RunDirectory(run.root / "seeds" / str(seed))


@contextlib.contextmanager
def other_seed(run, seed):
    """Sets the flags to those of a repetition, and yields its `RunDirectory`.

    Args:
        run: `RunDirectory` of the first seed, which has the teacher.
        seed: int.
    """
    repeated = repetition(run, seed)
    values = {"seed": seed, "run_dir": str(repeated.root)}
    if run.teacher.exists():
        values["teacher"] = str(run.teacher)
    with changed(**values):
        yield repeated
