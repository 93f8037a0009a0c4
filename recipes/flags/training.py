"""Defines the flags of the training."""

from absl import flags

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
    "learning_rate",
    0.05,
    "Initial learning rate; with --optimizer=adamw, the default is 0.001.",
)
# AdamW scales its own steps: the rate of SGD is far too high for it.
ADAMW_LEARNING_RATE = 0.001
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
