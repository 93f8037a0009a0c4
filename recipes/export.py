"""Exports a student to SavedModel, ONNX and TFLite: R/export/ with a manifest.

The format `web` adds a page that runs the student: R/export/web/.

Examples:

  diffkd-export --run_dir=runs/digits --formats=saved_model,onnx,tflite
  diffkd-export --run_dir=runs/digits --quantize=int8
  diffkd-export --student=student.keras --output_dir=artifacts --dataset=flowers \\
      --normalization=0_to_1 --quantize=int8

The artifacts appear only when all of them are complete and agree with the student.
With --run_dir, R/export/report.html tells about the run on one page (needs [plot]).
"""

from pathlib import Path

from absl import flags as absl_flags

from keras_diffkd.export import ExportError, VerificationError, export_student
from keras_diffkd.export.arguments import needs_calibration
from keras_diffkd.export.quiet import quiet
from keras_diffkd.export.records.report import FILE_NAME as REPORT
from keras_diffkd.export.records.report import read_verification_report
from keras_diffkd.export.serving.pixels import Preprocessing

from . import export_flags, flags, pixels, tasks, verify
from .activation_ranges import activation_ranges, learned_ranges
from .command_line import one_line, run_command
from .data import load_data, take_samples
from .export_flags import FORMATS, INPUT, OUTPUT_DIR, WEB, formats, options
from .networks import student_to_ship
from .report.write import missing_packages, write_report
from .run import experiment
from .run.directory import RunDirectory
from .run.model_files import load_checked_model
from .student_file import load_student_file

# Part of the help of this command.
absl_flags.adopt_module_key_flags(export_flags)
absl_flags.adopt_module_key_flags(verify)
absl_flags.adopt_module_key_flags(pixels)


def main(argv):
    """Writes the artifacts and prints their verification."""
    del argv
    try:
        folder, data = write_artifacts()
    except VerificationError as error:
        verify.print_report(error.report)
        raise
    verify.print_report(read_verification_report(folder / REPORT))
    print(f"Artifacts: {folder}")
    if WEB in FORMATS.value:
        print(f"Web page: python -m http.server --directory {folder / WEB}")
    if flags.RUN_DIR.value:
        print(add_report(RunDirectory(Path(flags.RUN_DIR.value)), folder, data))


def write_artifacts():
    """Exports the student of `--run_dir`, or the one that `--student` names.

    Returns:
        `(folder, data)`: the folder of the artifacts, and the data set from
        `load_data`, or None without a run.
    """
    if not flags.RUN_DIR.value:
        return export_file(), None
    if pixels.NORMALIZATION.value is not None:
        raise ValueError(
            "--normalization is for a --student without --run_dir. A run knows how its "
            "data set was normalized. Leave it out"
        )
    run = RunDirectory(Path(flags.RUN_DIR.value))
    settings = run.check_finished()
    path = student_to_ship(run, settings)
    experiment.adopt(settings)
    data = load_data()
    return export_run(run, settings, path, data), data


def add_report(run, folder, data):
    """Writes the page about the run beside the artifacts, which do not need it.

    Args:
        run: `RunDirectory`.
        folder: the folder of the artifacts.
        data: data set from `load_data`.

    Returns:
        str, a line that says where the page is, or why there is none.
    """
    missing = missing_packages()
    if missing:
        return (
            f"No report.html: {' and '.join(missing)} missing. Run "
            "`pip install matplotlib jinja2 scipy` and export again"
        )
    try:
        with quiet():
            path = write_report(run, folder / "report.html", data=data)
    except (ValueError, OSError) as error:
        return f"No report.html: {one_line(error)}"
    return f"Report: {path}"


def export_run(run, settings, path, data):
    """Exports the student of a run, with labels and normalization of its data set.

    Args:
        run: `RunDirectory`.
        settings: dict of str to str, the flags of its distillation.
        path: the student's `.keras` file.
        data: data set from `load_data`.

    Returns:
        `Path` of the folder.
    """
    student = load_checked_model(
        str(path), input_shape=data.image_shape, num_classes=data.num_classes
    )
    folder = Path(OUTPUT_DIR.value or run.export)
    export_with_data(
        student,
        folder,
        data,
        path,
        source=experiment.source(run, settings, path),
    )
    return folder


def export_with_data(student, folder, data, path, source):
    """Exports a student that is judged on the test split of a data set.

    Args:
        student: `keras.Model`.
        folder: `Path`.
        data: data set from `load_data`.
        path: the student's `.keras` file.
        source: dict, for the manifest.
    """
    samples = take_samples(data)
    export_student(
        student,
        folder,
        samples=samples,
        **activation_ranges(data, path, formats()),
        metrics=tasks.current().metrics(student, data),
        **options(_as_artifacts_take_them(samples, data)),
        input=INPUT.value,
        labels=data.label_names,
        normalization=data.normalization,
        source=source,
    )


def export_file():
    """Exports the `.keras` file that `--student` names, without a run.

    With `--dataset` it is judged and calibrated on the images of the data set.

    Returns:
        `Path` of the folder.

    Raises:
        ValueError: if the flags name no such file, or no folder.
    """
    path = flags.STUDENT.value or ""
    if not path.endswith(".keras") or not OUTPUT_DIR.value:
        raise ValueError(
            "give --run_dir, or --student=MODEL.keras and --output_dir. Received: "
            f"--student={path} --output_dir={OUTPUT_DIR.value or ''}"
        )
    student, data, normalization = load_student_file(path)
    folder, source = Path(OUTPUT_DIR.value), {"experiment": path, "student": path}
    if data is not None:
        export_with_data(student, folder, data, path, source)
        return folder
    knows_pixels = normalization is not None
    kind = INPUT.value if INPUT.present or knows_pixels else "float32"
    if kind == "float32" and not INPUT.present:
        print(
            "The files take what the student takes, in float32. Pass --normalization "
            "for files that take raw pixels, and --dataset to judge them on real images"
        )
    export_student(
        student,
        folder,
        source=source,
        ranges=learned_ranges(path) if needs_calibration(formats()) else None,
        **options(),
        # Without a normalization, asking for uint8 is an error.
        input=kind,
        normalization=normalization,
    )
    return folder


def _as_artifacts_take_them(samples, data):
    images, targets = samples
    if INPUT.value == "uint8":
        images = Preprocessing.of(data.normalization).restore(images)
    return images, targets


def run():
    """Runs `diffkd-export`."""
    run_command("diffkd-export", main, expected=(ExportError,))
