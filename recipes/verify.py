"""Compares every artefact of a run with its student on the real test split.

Example:

  diffkd-verify --run_dir=runs/digits

Writes what it found into R/export/report.json, too (docs/exports.md). Exits with
status 1 if an artefact is missing, damaged or out of tolerance.
"""

from pathlib import Path

from absl import flags as absl_flags

from keras_diffkd.export import (
    VerificationError,
    format_table,
    verify,
    write_verification_report,
)
from keras_diffkd.export.records.report import FILE_NAME as REPORT
from keras_diffkd.recipes import flags, tasks, tolerances
from keras_diffkd.recipes.command_line import run_command
from keras_diffkd.recipes.data import load_data, take_samples
from keras_diffkd.recipes.model_files import load_model
from keras_diffkd.recipes.networks import student_to_ship
from keras_diffkd.recipes.run_directory import RunDirectory

# Part of the help of this command.
absl_flags.adopt_module_key_flags(tolerances)


def main(argv):
    """Verifies the artefacts and prints the report."""
    del argv
    flags.require("run_dir")
    run = RunDirectory(Path(flags.RUN_DIR.value))
    settings = run.check_finished()
    path = student_to_ship(run, settings)
    flags.adopt(settings)
    if not run.export.is_dir():
        raise FileNotFoundError(
            f"{run.export} does not exist: run diffkd-export --run_dir={run.root} first"
        )
    data = load_data()
    student = load_model(
        str(path), input_shape=data.image_shape, num_classes=data.num_classes
    )
    try:
        report = verify(
            run.export,
            student,
            take_samples(data),
            tolerance=tolerances.TOLERANCE.value,
            quantized_tolerance=tolerances.QUANTIZED_TOLERANCE.value,
            metrics=tasks.current().metrics(student, data),
        )
    except VerificationError as error:
        print_report(error.report)
        write_verification_report(run.export / REPORT, error.report)
        raise
    print_report(report)
    write_verification_report(run.export / REPORT, report)


def print_report(report):
    """Prints a report of `verify` if there is anything in it but an error."""
    if report.get("artefacts"):
        print(format_table(report))


def run():
    """Entry point of `diffkd-verify`."""
    run_command("diffkd-verify", main, expected=(VerificationError,))
