"""Defines the flags that the commands share."""

import os

from absl import flags
from absl.flags import FLAGS

from keras_diffkd.datasets.folders.paths import is_path
from keras_diffkd.validation.arguments import check_number, is_balanced

from . import teacher_flags


class PathParser(flags.ArgumentParser):
    """Parses the path of a user's images, or the name of another data set.

    A path becomes absolute, so that a run can be used from every folder.
    """

    syntactic_help = "a path, or the name of a data set"

    def parse(self, argument):
        if not is_path(argument):
            return argument
        return os.path.abspath(os.path.expanduser(argument))


class WeightParser(flags.ArgumentParser):
    """Parses the weight of a loss, a number of at least 0 or `balanced`."""

    syntactic_help = "a number of at least 0, or 'balanced'"

    def parse(self, argument):
        if is_balanced(argument):
            return argument
        try:
            check_number("weight", weight := float(argument), least=0)
        except ValueError:
            raise ValueError(f"must be {self.syntactic_help}") from None
        return weight


# Where things are.
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

# The data.
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
    "labels' loss ignores; for your images and --task=classification.",
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

# The models.
TEACHER = flags.DEFINE_string(
    "teacher",
    None,
    "A model of the zoo (trained by diffkd-train-teacher in this run), a '.keras' "
    "file, 'applications:NAME', 'applications:NAME+imagenet', 'hub:PRESET' or "
    "'hub:PRESET+new', its architecture with new weights.",
)
STUDENT = flags.DEFINE_string(
    "student",
    None,
    "The model to train; the same kinds as for --teacher, or 'shrink:0.5': the teacher "
    "with half of its channels, and their weights (docs/shrinking.md).",
)
MAX_LATENCY_MS = flags.DEFINE_float(
    "max_latency_ms",
    None,
    "With --student=shrink: take the widest student whose TFLite file needs at most so "
    "many milliseconds for an image on one thread of this machine.",
    lower_bound=0.0,
)
MAX_KB = flags.DEFINE_float(
    "max_kb",
    None,
    "With --student=shrink: take the widest student whose TFLite file has at most so "
    "many thousands of bytes.",
    lower_bound=0.0,
)
IMPORTANCE = flags.DEFINE_enum(
    "importance",
    None,
    ["l2", "batch_norm", "taylor"],
    "Channels that --student=shrink keeps: those of the largest weights, of the "
    "largest scales of batch normalization, or whose loss would change the loss most; "
    "unset: l2.",
)
ALLOW_CLASSES = flags.DEFINE_list(
    "allow_classes",
    [],
    "Classes that model files may name besides those of Keras, KerasHub and "
    "keras_diffkd, separated by commas: 'package>Name' as they are registered, or "
    "'module:package>Name' to import the module first. A flags.txt cannot set it.",
)
ALLOW_UNSAFE_FORMATS = flags.DEFINE_boolean(
    "allow_unsafe_formats",
    False,
    "Open model files in other formats than .keras (.h5), without checking them "
    "(SECURITY.md). A flags.txt cannot set it.",
)
PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Keras dtype policy of new models.",
)
TEACHER_DTYPE = flags.DEFINE_enum(
    "teacher_dtype",
    None,
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Keras dtype policy of the teacher during training, without a change to its file; "
    "unset: the policy of its file.",
)

TEACHER_CACHE = flags.DEFINE_string(
    "teacher_cache",
    None,
    "Folder of the teacher's stored outputs, built on first use (docs/teacher_cache.md)"
    "; unset: run the teacher in each step. Not for --task=detection.",
)
CACHE_VIEWS = flags.DEFINE_integer(
    "cache_views",
    None,
    "Augmented views of each training image, used in turn over the epochs; unset: 4 "
    "with --teacher_cache, and a new view in each epoch without it.",
    lower_bound=1,
)
CACHE_SEED = flags.DEFINE_integer(
    "cache_seed",
    0,
    "Seed of the augmentation with --cache_views, the same for all --seeds.",
    lower_bound=0,
)

# The method.
METHOD = flags.DEFINE_list(
    "method",
    ["diffkd"],
    "Distillation methods, separated by commas: 'diffkd' (DiffKD on features and "
    "logits), 'diffkd_features', 'diffkd_logits', 'dskd', 'kdiffusion', 'vkd', 'afd', "
    "'rtk', 'kd', 'dist', 'dkd', 'ttm', 'wttm', 'fitnet', or 'none' for the student "
    "alone; 'my_module:MyMethod' imports your own (docs/methods.md).",
)
TEACHER_TAP = flags.DEFINE_string(
    "teacher_tap",
    None,
    "Layer of the teacher that feature methods read (docs/taps.md); unset: the layer "
    "that the zoo's models have for the task: 'features', 'backbone/fpn' (all levels "
    "of the feature pyramid) or 'backbone/spatial_pyramid_pooling'.",
)
STUDENT_TAP = flags.DEFINE_string(
    "student_tap",
    None,
    "Layer of the student that feature methods read; see --teacher_tap.",
)
STUDENT_CONVOLUTION = flags.DEFINE_string(
    "student_convolution",
    None,
    "Conv2D of the student that kdiffusion reads and trains as branches; the last "
    "one works best.",
)
TEACHER_TAPS = flags.DEFINE_list(
    "teacher_taps",
    None,
    "Layers of the teacher that afd and rtk read, separated by commas; unset: "
    "'stage1,features', and two levels of the feature pyramid for detection.",
)
STUDENT_TAPS = flags.DEFINE_list(
    "student_taps",
    None,
    "Layers of the student that afd and rtk read; see --teacher_taps.",
)
REPRESENTATIVE_KEYS = flags.DEFINE_integer(
    "representative_keys",
    1,
    "Features of the teacher that rtk keeps for each image.",
    lower_bound=1,
)
RESIZE = flags.DEFINE_enum(
    "resize",
    None,
    ["nearest", "bilinear"],
    "How feature methods resize the student's map to the teacher's size.",
)
LATENT_CHANNELS = flags.DEFINE_integer(
    "latent_channels",
    None,
    "Channels of DiffKD's autoencoder for features; unset: no autoencoder.",
    lower_bound=1,
)
SHARE_DENOISER = flags.DEFINE_boolean(
    "share_denoiser",
    False,
    "Use one diffusion model of DiffKD for all levels of a feature pyramid.",
)
BOX_LOSS_WEIGHT = flags.DEFINE_float(
    "box_loss_weight", 1.0, "Weight of the boxes in a detector's loss.", lower_bound=0.0
)
NUM_INFERENCE_STEPS = flags.DEFINE_integer(
    "num_inference_steps", 5, "Denoising steps of DiffKD and DSKD.", lower_bound=1
)
TEMPERATURE = flags.DEFINE_float(
    "temperature",
    None,
    "Temperature of methods on logits; unset: 4 for kd, dkd, ttm and wttm, 1 for the "
    "others, and 2 for all with --standardize_logits.",
    lower_bound=0.0,
)
STANDARDIZE_LOGITS = flags.DEFINE_boolean(
    "standardize_logits",
    False,
    "Standardize each row of logits before kd, dist, dkd and DiffKD on logits compare "
    "them (LSKD).",
)
TASK_LOSS_WEIGHT = flags.DEFINE_float(
    "task_loss_weight", 1.0, "Weight of the labels' loss.", lower_bound=0.0
)
DISTILL_WEIGHT = flags.DEFINE(
    WeightParser(),
    "distill_weight",
    1.0,
    "Weight of every method's matching loss: a number, or 'balanced' to set it from "
    "the gradients of the first 50 steps.",
)
DENOISE_WEIGHT = flags.DEFINE_float(
    "denoise_weight",
    1.0,
    "Weight of the diffusion loss of DiffKD and DSKD.",
    lower_bound=0.0,
)
RECONSTRUCTION_WEIGHT = flags.DEFINE_float(
    "reconstruction_weight",
    1.0,
    "Weight of DiffKD's autoencoder loss.",
    lower_bound=0.0,
)

# The training.
EPOCHS = flags.DEFINE_integer("epochs", 100, "Epochs to train.", lower_bound=1)
STEPS_PER_EPOCH = flags.DEFINE_integer(
    "steps_per_epoch",
    None,
    "Training steps per epoch; unset: one pass over the data.",
    lower_bound=1,
)
OPTIMIZER = flags.DEFINE_enum(
    "optimizer",
    "sgd",
    ["sgd", "adamw"],
    "sgd: weight decay enters the gradient, as in PyTorch; adamw: decoupled.",
)
LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 0.05, "Learning rate that the schedule starts from."
)
MOMENTUM = flags.DEFINE_float(
    "momentum", 0.9, "Momentum of sgd.", lower_bound=0.0, upper_bound=1.0
)
NESTEROV = flags.DEFINE_boolean("nesterov", False, "Nesterov momentum for sgd.")
WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay", 0.0, "Weight decay, on all weights.", lower_bound=0.0
)
GLOBAL_CLIPNORM = flags.DEFINE_float(
    "global_clipnorm",
    None,
    "Scale the gradients down to at most this norm of all of them; 0: do not; unset: 1 "
    "for --task=detection, otherwise 0.",
    lower_bound=0.0,
)
LR_SCHEDULE = flags.DEFINE_enum(
    "lr_schedule",
    "constant",
    ["constant", "step", "cosine", "polynomial"],
    "step: multiply by --lr_decay at each of --milestones; cosine, and polynomial of "
    "power 0.9: decrease to 0.",
)
MILESTONES = flags.DEFINE_list(
    "milestones", [], "Epochs after which 'step' lowers the learning rate: 150,180."
)
LR_DECAY = flags.DEFINE_float(
    "lr_decay", 0.1, "Factor of 'step' at each milestone.", lower_bound=0.0
)
WARMUP_EPOCHS = flags.DEFINE_integer(
    "warmup_epochs", 0, "Epochs of linear warm-up before 'cosine'.", lower_bound=0
)
MAX_SKIPPED_STEPS = flags.DEFINE_integer(
    "max_skipped_steps",
    50,
    "Steps in a row that mixed_float16 may skip because gradients overflow.",
    lower_bound=1,
)
SAVE_EVERY = flags.DEFINE_integer(
    "save_every",
    500,
    "Training steps between two snapshots within an epoch, from which the same "
    "command resumes (docs/resuming.md); 0: only at the end of every epoch.",
    lower_bound=0,
)
PICTURE_EVERY = flags.DEFINE_integer(
    "picture_every",
    0,
    "Epochs between two pictures of the features in pictures/ and TensorBoard (needs "
    "matplotlib); 0: none.",
    lower_bound=0,
)
SEED = flags.DEFINE_integer(
    "seed",
    0,
    "Seed of the weights, the noise and the order of the data.",
    lower_bound=0,
)
STRATEGY = flags.DEFINE_enum(
    "strategy",
    "none",
    ["none", "mirrored", "multi_worker"],
    "none: one device; mirrored: all GPUs of this machine; multi_worker: the machines "
    "that the environment variable TF_CONFIG names (docs/scaling.md).",
)
CLUSTER_TIMEOUT = flags.DEFINE_integer(
    "cluster_timeout",
    300,
    "Seconds to wait for the other workers of multi_worker.",
    lower_bound=1,
)
VIRTUAL_DEVICES = flags.DEFINE_integer(
    "virtual_devices",
    None,
    "Split the CPU into this many devices, to try a strategy without GPUs.",
    lower_bound=1,
)
JIT_COMPILE = flags.DEFINE_enum(
    "jit_compile",
    "auto",
    ["auto", "true", "false"],
    "Compile the training step with XLA; auto: on accelerators, where it pays.",
)


def shared():
    """Returns absl's `Flag` objects of the flags that describe an experiment."""
    modules = (__name__, teacher_flags.__name__)
    return [flag for each in modules for flag in FLAGS.get_flags_for_module(each)]


def require(*names):
    """Raises `ValueError` naming the first of these flags that has no value."""
    for name in names:
        if not FLAGS[name].value:
            raise ValueError(f"--{name} is required: {_as_clause(FLAGS[name].help)}")


def _as_clause(text):
    """Returns a sentence as it continues another one."""
    first = text.split()[0]
    # Names such as Conv2D keep their letters.
    return text[0].lower() + text[1:] if first.isalpha() else text
