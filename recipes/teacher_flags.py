"""Defines the flags that matter to the training of a teacher alone."""

from absl import flags

HEAD_EPOCHS = flags.DEFINE_integer(
    "head_epochs",
    None,
    "Epochs in which diffkd-train-teacher trains only the new head of a pretrained "
    "--teacher, at --learning_rate, before --epochs of all of it; unset: 5.",
    lower_bound=0,
)
FINE_TUNE_LEARNING_RATE = flags.DEFINE_float(
    "fine_tune_learning_rate",
    None,
    "Learning rate at which diffkd-train-teacher trains all of a pretrained --teacher, "
    "after --head_epochs; unset: a tenth of --learning_rate.",
)
