"""Compares every artifact of a run with its student on the real test split.

Example:

  diffkd-verify --run_dir=runs/digits

Writes R/export/report.json too (docs/exports.md). Exits with status 1 if an artifact
is missing, damaged or out of tolerance.
"""

from pathlib import Path

from absl import flags as absl_flags

from keras_diffkd.export import (
    VerificationError,
    format_table,
    verify,
    write_verification_report,
)
from keras_diffkd.export.records.folder import only_writer
from keras_diffkd.export.records.report import FILE_NAME as REPORT

from . import flags, shrinking, tasks
from .command_line import run_command
from .data import load_data, take_samples
from .networks import student_to_ship
from .run import experiment
from .run.directory import RunDirectory
from .run.model_files import load_checked_model

TOLERANCE = absl_flags.DEFINE_float(
    "tolerance",
    1e-4,
    "Largest accepted difference from the student's outputs, in float32.",
    lower_bound=0.0,
)
QUANTIZED_TOLERANCE = absl_flags.DEFINE_float(
    "quantized_tolerance",
    0.005,
    "How much lower a metric of a quantized artifact may be than the student's.",
    lower_bound=0.0,
)


def main(argv):
    """Verifies the artifacts and prints the report."""
    del argv
    flags.require("run_dir")
    run = RunDirectory(Path(flags.RUN_DIR.value))
    settings = run.check_finished()
    path = student_to_ship(run, settings)
    experiment.adopt(settings)
    if not run.export.is_dir():
        raise FileNotFoundError(
            f"{run.export} does not exist: run diffkd-export --run_dir={run.root} first"
        )
    data = load_data()
    student = load_checked_model(
        str(path), input_shape=data.image_shape, num_classes=data.num_classes
    )
    with only_writer(run.export.resolve()):
        try:
            report = verify(
                run.export,
                student,
                take_samples(data),
                tolerance=TOLERANCE.value,
                quantized_tolerance=QUANTIZED_TOLERANCE.value,
                metrics=tasks.current().metrics(student, data),
            )
        except VerificationError as error:
            print_report(error.report)
            write_verification_report(run.export / REPORT, error.report)
            raise
        print_report(report)
        write_verification_report(run.export / REPORT, report)


def print_report(report):
    """Prints a report of `verify` that has results."""
    if report.get("artifacts"):
        print(format_table(report))
        limits = shrinking.limits_of_flags()
        for line in shrinking.describe_limits(report, limits):
            print(line)


def run():
    """Runs `diffkd-verify`."""
    run_command("diffkd-verify", main, expected=(VerificationError,))
