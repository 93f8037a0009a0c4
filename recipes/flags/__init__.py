"""Defines the flags that the commands share, a file for each kind."""

from absl.flags import FLAGS

from .. import teacher_flags
from . import data, method, models, places, training
from .data import (
    AUGMENT,
    BAD_IMAGES,
    BATCH_SIZE,
    COLOR_MODE,
    EXAMPLES_PER_CLASS,
    IMAGE_SIZE,
    TEST_SPLIT,
    TRAIN_SPLIT,
    UNLABELED,
)
from .method import (
    BOX_LOSS_WEIGHT,
    DENOISE_WEIGHT,
    DISTILL_WEIGHT,
    LATENT_CHANNELS,
    METHOD,
    METHOD_EPOCHS,
    NUM_INFERENCE_STEPS,
    RECONSTRUCTION_WEIGHT,
    REPRESENTATIVE_KEYS,
    RESIZE,
    SHARE_DENOISER,
    STANDARDIZE_LOGITS,
    STUDENT_CONVOLUTION,
    STUDENT_TAP,
    STUDENT_TAPS,
    TASK_LOSS_WEIGHT,
    TEACHER_TAP,
    TEACHER_TAPS,
    TEMPERATURE,
)
from .models import (
    ALLOW_CLASSES,
    ALLOW_UNSAFE_FORMATS,
    CACHE_SEED,
    CACHE_VIEWS,
    IMPORTANCE,
    MAX_KB,
    MAX_LATENCY_MS,
    PRECISION,
    STUDENT,
    TEACHER,
    TEACHER_CACHE,
    TEACHER_DTYPE,
)
from .places import (
    DATA_DIR,
    DATASET,
    DEBUG,
    DOWNLOAD,
    RUN_DIR,
    TASK,
)
from .training import (
    ADAMW_LEARNING_RATE,
    CLUSTER_TIMEOUT,
    EPOCHS,
    GLOBAL_CLIPNORM,
    JIT_COMPILE,
    LEARNING_RATE,
    LR_DECAY,
    LR_SCHEDULE,
    MAX_SKIPPED_STEPS,
    MILESTONES,
    MOMENTUM,
    NESTEROV,
    OPTIMIZER,
    PICTURE_EVERY,
    SAVE_EVERY,
    SEED,
    STEPS_PER_EPOCH,
    STRATEGY,
    VIRTUAL_DEVICES,
    WARMUP_EPOCHS,
    WEIGHT_DECAY,
)

KINDS = (places, data, models, method, training)


def shared():
    """Returns absl's `Flag` objects of the flags that describe an experiment."""
    return [
        flag
        for module in (*KINDS, teacher_flags)
        for flag in FLAGS.get_flags_for_module(module.__name__)
    ]


def described():
    """Returns the help of the flags that all commands have."""
    return "\n".join(FLAGS.module_help(module.__name__) for module in KINDS)


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
