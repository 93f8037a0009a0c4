"""Defines the flags of the distillation methods."""

from absl import flags

from .parsers import WeightParser

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
    "Temperature of methods on logits. Default: 4 for kd and dkd (1 with "
    "--task=segmentation), 4 for ttm and wttm, 1 for the others; with "
    "--standardize_logits, 2.",
    lower_bound=0.0,
)
STANDARDIZE_LOGITS = flags.DEFINE_boolean(
    "standardize_logits",
    False,
    "Standardize each row of logits before kd, dist, dkd and DiffKD on logits compare "
    "them (LSKD).",
)
METHOD_EPOCHS = flags.DEFINE_integer(
    "method_epochs",
    None,
    "Epochs that train only the methods' own layers, before the student: new layers "
    "mislead a student that is already trained. Unset: 1 for --student=shrink and for "
    "--quantization_aware, else 0.",
    lower_bound=0,
)
TASK_LOSS_WEIGHT = flags.DEFINE_float(
    "task_loss_weight", 1.0, "Weight of the task loss.", lower_bound=0.0
)
DISTILL_WEIGHT = flags.DEFINE(
    WeightParser(),
    "distill_weight",
    None,
    "Weight of each method's matching loss: a number, or 'balanced' to set it from "
    "the gradients of the first 50 steps (docs/methods.md). Default: 'balanced' for "
    "--task=classification; 1 for other tasks and with --task_loss_weight=0.",
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
