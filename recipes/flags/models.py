"""Defines the flags of teacher, student and teacher cache."""

from absl import flags

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
    "With --student=shrink: the most milliseconds that the student's TFLite file may "
    "take for an image, on one thread of this machine. Makes the widest such student.",
    lower_bound=0.0,
)
MAX_KB = flags.DEFINE_float(
    "max_kb",
    None,
    "With --student=shrink: the most thousands of bytes that the student's TFLite file "
    "may have. Makes the widest such student.",
    lower_bound=0.0,
)
IMPORTANCE = flags.DEFINE_enum(
    "importance",
    None,
    ["l2", "batch_norm", "taylor"],
    "Channels that --student=shrink keeps: those with the largest weights, with the "
    "largest scales of batch normalization, or those whose removal would change the "
    "loss most; unset: l2.",
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
