"""What a distiller remembers of its training."""

import keras

from keras_diffkd.training import backend
from keras_diffkd.training.logs import LossMeans
from keras_diffkd.training.loss_weights import LossWeights
from keras_diffkd.training.state import metrics_of_layers, only_read
from keras_diffkd.training.step_count import StepCount
from keras_diffkd.validation.arguments import check_integer
from keras_diffkd.validation.checked_data import CheckedData


class TrainingRecord:
    """Holds the settings of `compile`, the step, and its progress.

    It is a plain object: Keras neither trains nor saves what is in it.

    Args:
        distiller: The `Distiller`.

    Attributes:
        jit_compile: `True`, `False` or `"auto"`.
        max_skipped_steps: Integer.
        preflight: Whether `fit` checks its data first.
        checked_data: `CheckedData`, of the last `fit`.
        loss_means: `LossMeans`.
        loss_weights: `LossWeights`.
        count: `StepCount`.
        gradients: The gradient function of the backend.
        compiled_step: The whole step, compiled, on backends that compile it.
        teacher_variables: List of the variables that the step only reads.
        assigned: List of variables that the step assigns though Keras does not
            count them as the model's.
        seed_generator: Keras's global generator, if several replicas share it.
        untrained: List of the paths of weights without a gradient.
        epoch: Integer from 1 while `fit` runs, or `None`.
        failure: Arguments of `divergence.diverged` after a step that is not finite.
    """

    def __init__(self, distiller):
        self.jit_compile = "auto"
        self.max_skipped_steps = None
        self.preflight = True
        self.checked_data = CheckedData()
        self.loss_means = LossMeans(distiller.methods)
        self.count = StepCount()
        self.loss_weights = LossWeights(distiller)
        self.gradients = None
        self.compiled_step = None
        self.teacher_variables = []
        self.assigned = []
        self.seed_generator = None
        self.untrained = []
        self.epoch = None
        self.failure = None

    def compile(self, distiller, jit_compile, max_skipped_steps, preflight):
        """Takes the settings of `Distiller.compile`."""
        self.jit_compile = jit_compile
        self.max_skipped_steps = max_skipped_steps
        self.preflight = preflight
        self.count.can_skip = isinstance(
            distiller.optimizer, keras.optimizers.LossScaleOptimizer
        )
        self.make_step(distiller)

    def make_step(self, distiller):
        """Makes the step anew: a traced one reads the teacher of its time."""
        distiller.train_function = None
        self.loss_weights.begin(distiller)
        self.checked_data = CheckedData()
        self.teacher_variables = (
            only_read(distiller.teacher, distiller.student) if distiller.methods else []
        )
        self.assigned = metrics_of_layers(distiller)
        self.gradients = backend.make_gradient_function(
            distiller, False if distiller.run_eagerly else self.jit_compile
        )


def check_compile(jit_compile, max_skipped_steps):
    """Checks arguments of `Distiller.compile`; returns the integer of the second."""
    if not (isinstance(jit_compile, bool) or jit_compile == "auto"):
        raise ValueError(
            '`jit_compile` must be True, False or "auto". '
            f"Received: jit_compile={jit_compile!r}"
        )
    return check_integer("max_skipped_steps", max_skipped_steps, 1)
