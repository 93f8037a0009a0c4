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

import keras
from absl import flags as absl_flags

from keras_diffkd.export import ExportError, VerificationError, export_student
from keras_diffkd.export.arguments import check_formats, needs_calibration
from keras_diffkd.export.quiet import quiet
from keras_diffkd.export.records.report import FILE_NAME as REPORT
from keras_diffkd.export.records.report import read_verification_report
from keras_diffkd.export.serving.pixels import Preprocessing

from . import flags, pixels, tasks, verify
from .activation_ranges import activation_ranges, learned_ranges
from .command_line import one_line, run_command
from .data import load_data, take_samples
from .networks import student_to_ship
from .report.write import missing_packages, write_report
from .run import experiment
from .run.directory import RunDirectory
from .run.model_files import load_checked_model
from .student_file import load_student_file

WEB = "web"
FORMATS = absl_flags.DEFINE_list(
    "formats",
    ["saved_model", "onnx", "tflite"],
    "Formats to write, separated by commas: saved_model, onnx, tflite; onnx_int8, "
    "tflite_int8 (weights and activations in int8), tflite_dynamic (weights in int8), "
    "tflite_float16 (weights in float16); and web, a page that runs student.onnx in "
    "the browser (docs/web_page.md).",
)
QUANTIZE = absl_flags.DEFINE_enum(
    "quantize",
    None,
    ["int8"],
    "int8 adds onnx_int8 to onnx and tflite_int8 to tflite; unset: no more formats.",
)
INPUT = absl_flags.DEFINE_enum(
    "input",
    "uint8",
    ["uint8", "float32"],
    "uint8: artifacts take raw pixels and normalize them; float32: they take the "
    "student's input, the default where --run_dir, --dataset and --normalization are "
    "unset.",
)
OPSET = absl_flags.DEFINE_integer(
    "opset", 17, "ONNX operator set of student.onnx.", lower_bound=1
)
BATCH = absl_flags.DEFINE_string(
    "batch",
    "dynamic",
    "Images that artifacts take at once: a number, which is then fixed in all of them; "
    "dynamic: any number in SavedModel and ONNX, and one in TFLite files, whose "
    "delegates need a fixed size.",
)
NMS = absl_flags.DEFINE_boolean(
    "nms",
    False,
    "Put non-maximum suppression into a detector's artifacts; TFLite cannot do it, so "
    "the default of --formats is saved_model,onnx then.",
)
WEB_SAMPLES = absl_flags.DEFINE_integer(
    "web_samples",
    8,
    "Images of the test split to publish with the web page.",
    lower_bound=0,
)
WEB_TITLE = absl_flags.DEFINE_string(
    "web_title", None, "Heading of the web page; unset: the name of the data set."
)
WEB_INPUT = absl_flags.DEFINE_enum(
    "web_input",
    "auto",
    ["auto", "draw", "picture"],
    "What the web page is for; auto: drawings of small gray digits and letters, "
    "pictures of everything else.",
)
WEB_RUNTIME = absl_flags.DEFINE_string(
    "web_runtime",
    None,
    "Folder with the npm package onnxruntime-web; unset: npm downloads it once.",
)
REPLACE = absl_flags.DEFINE_boolean(
    "replace",
    False,
    "Remove the formats and the web page of an earlier export that this one does not "
    "write; without it they stay, and are verified again.",
)
OUTPUT_DIR = absl_flags.DEFINE_string(
    "output_dir", None, "Folder of the artifacts; unset: R/export of --run_dir."
)

# Part of the help of this command.
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
        **activation_ranges(data, path, _formats()),
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
        ranges=learned_ranges(path) if needs_calibration(_formats()) else None,
        **options(),
        # Without a normalization, asking for uint8 is an error.
        input=kind,
        normalization=normalization,
    )
    return folder


def options(samples=None):
    """Returns the arguments of `export_student` that the flags set.

    Args:
        samples: `(images, targets)` to take the web page's samples from, or None.

    Raises:
        ValueError: if a web page is wanted without the ONNX file that it runs.
    """
    formats = FORMATS.value
    if NMS.value and not FORMATS.present:
        formats = ["saved_model", "onnx"]
    if WEB in formats and "onnx" not in formats:
        raise ValueError(
            "the web page runs student.onnx: add onnx to --formats. Received: "
            f"--formats={','.join(formats)}"
        )
    return {
        "formats": [name for name in formats if name != WEB],
        "web": web_options(samples) if WEB in formats else None,
        "quantize": QUANTIZE.value,
        "opset": OPSET.value,
        "batch_size": batch_size(),
        "nms": {} if NMS.value else None,
        "replace": REPLACE.value,
        "tolerance": verify.TOLERANCE.value,
        "quantized_tolerance": verify.QUANTIZED_TOLERANCE.value,
    }


def batch_size():
    """Returns `--batch` in the form that `export_student` takes.

    Raises:
        ValueError: if it is neither a number nor dynamic.
    """
    if BATCH.value == "dynamic":
        return None
    if not (BATCH.value.isdecimal() and int(BATCH.value)):
        raise ValueError(
            "--batch must be dynamic, or a positive number of images. Received: "
            f"--batch={BATCH.value}"
        )
    return int(BATCH.value)


def _as_artifacts_take_them(samples, data):
    images, targets = samples
    if INPUT.value == "uint8":
        images = Preprocessing.of(data.normalization).restore(images)
    return images, targets


def _formats():
    """Returns the names of all formats to write, without the web page."""
    formats = [name for name in FORMATS.value if name != WEB]
    return check_formats(formats, QUANTIZE.value)


def web_options(samples):
    """Returns the argument `web` of `export_student` that the flags set."""
    count = WEB_SAMPLES.value
    if samples is not None:
        samples = keras.tree.map_structure(lambda array: array[:count], samples)
    name = Path(flags.DATASET.value or "").stem.replace("_", " ")
    return {
        "title": WEB_TITLE.value or name or None,
        "samples": samples if count else None,
        "drawing": {"draw": True, "picture": False}.get(WEB_INPUT.value),
        "runtime_dir": WEB_RUNTIME.value,
    }


def run():
    """Runs `diffkd-export`."""
    run_command("diffkd-export", main, expected=(ExportError,))
