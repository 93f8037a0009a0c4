"""Defines the flags of the data."""

from absl import flags

from .parsers import PathParser

TRAIN_SPLIT = flags.DEFINE_string("train_split", "train", "TFDS split to train on.")
EXAMPLES_PER_CLASS = flags.DEFINE_integer(
    "examples_per_class",
    None,
    "Training images of each class to take from --train_split, drawn by --seed; "
    "unset: all. For --task=classification.",
    lower_bound=1,
)
TEST_SPLIT = flags.DEFINE_string(
    "test_split",
    None,
    "TFDS split to test on; unset: 'test', else 'validation'. For your images without "
    "splits: the share of them to test on; unset: 20%.",
)
BAD_IMAGES = flags.DEFINE_enum(
    "bad_images",
    "skip",
    ["skip", "refuse"],
    "Leave out files of your images that cannot be used, with a warning, or stop.",
)
COLOR_MODE = flags.DEFINE_enum(
    "color_mode",
    None,
    ["rgb", "grayscale"],
    "Channels of your images: three, or one; unset: one if all of them are gray. For "
    "--task=classification.",
)
UNLABELED = flags.DEFINE(
    PathParser(),
    "unlabeled",
    None,
    "Folder of further images without labels, which the methods learn from and the "
    "task loss ignores; for your images and --task=classification.",
)
IMAGE_SIZE = flags.DEFINE_string(
    "image_size",
    None,
    "Size of the images in pixels: 224, or HEIGHTxWIDTH for detection and "
    "segmentation; unset: as stored, if all have the same size.",
)
AUGMENT = flags.DEFINE_enum(
    "augment",
    None,
    ["none", "flip", "crop", "crop_flip", "random_resized_crop"],
    "Augmentation of the training images; unset: the usual one for the data set.",
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "Images per training step, on all devices.", lower_bound=1
)
