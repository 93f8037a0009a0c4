"""Defines the flags of where things are."""

from absl import flags

from .parsers import PathParser

RUN_DIR = flags.DEFINE_string(
    "run_dir", None, "Folder of the run, where all its files are written."
)
DATASET = flags.DEFINE(
    PathParser(),
    "dataset",
    None,
    "Data set: the path of your images (docs/your_data.md), 'digits', 'digit_scenes', "
    "or the name of a TFDS data set for the task.",
)
TASK = flags.DEFINE_enum(
    "task",
    "classification",
    ["classification", "detection", "segmentation"],
    "Task of the models; detection and segmentation need KerasHub.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of prepared data sets, or a folder of IDX files; unset: the default of "
    "TFDS.",
)
DOWNLOAD = flags.DEFINE_boolean(
    "download", False, "Let TFDS download and prepare a data set that is missing."
)
DEBUG = flags.DEFINE_boolean("debug", False, "Show the traceback of an error.")
