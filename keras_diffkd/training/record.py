"""Holds the state of a distiller's training."""

import keras

from keras_diffkd.training import backend
from keras_diffkd.training.logs import LossMeans
from keras_diffkd.training.loss_weights import LossWeights
from keras_diffkd.training.state import metrics_of_layers, only_read
from keras_diffkd.training.step_count import StepCount
from keras_diffkd.validation.arguments import check_integer
from keras_diffkd.validation.checked_data import CheckedData


class TrainingRecord:
    """Holds the settings of `compile`, the built step and the progress of training.

    It is a plain object, so that Keras neither trains nor saves its attributes.

    Args:
        distiller: The `Distiller`.

    Attributes:
        jit_compile: `True`, `False` or `"auto"`.
        max_skipped_steps: Integer.
        preflight: Boolean, whether `fit` checks the data first.
        checked_data: `CheckedData` of the last `fit`.
        loss_means: `LossMeans`.
        loss_weights: `LossWeights`.
        count: `StepCount`.
        gradients: The gradient function of the backend.
        compiled_step: The whole compiled step, on backends that compile it.
        teacher_variables: List of the variables that the step only reads.
        assigned: List of variables that the step assigns, although Keras does not list
            them among those of the model.
        in_place: List of variables that the step assigns inside control flow.
        seed_generator: Keras's global seed generator, if several replicas share it.
        untrained: List of the paths of weights without a gradient.
        epoch: Integer from 1 while `fit` runs, or `None`.
        failure: Dict of arguments for `divergence.diverged`, after a step that is not
            finite.
        unchecked: The step that JAX has started and whose finiteness is still to be
            read, or `None`.
        waits_for_steps: Boolean, whether a callback waits for each step of `fit`.
    """

    def __init__(self, distiller):
        self.jit_compile = "auto"
        self.max_skipped_steps = None
        self.preflight = True
        self.checked_data = CheckedData()
        self.loss_means = LossMeans(distiller)
        self.count = StepCount()
        self.loss_weights = LossWeights(distiller)
        self.gradients = None
        self.compiled_step = None
        self.teacher_variables = []
        self.assigned, self.in_place = [], []
        self.seed_generator = None
        self.untrained = []
        self.epoch = None
        self.failure = None
        self.unchecked = None
        self.waits_for_steps = False

    def compile(self, distiller, jit_compile, max_skipped_steps, preflight):
        """Stores the settings of `Distiller.compile` and builds the step."""
        self.jit_compile = jit_compile
        self.max_skipped_steps = max_skipped_steps
        self.preflight = preflight
        self.count.can_skip = isinstance(
            distiller.optimizer, keras.optimizers.LossScaleOptimizer
        )
        self.make_step(distiller)

    def make_step(self, distiller):
        """Rebuilds the step, because a traced step keeps the old teacher."""
        distiller.train_function = None
        self.loss_weights.begin(distiller)
        self.checked_data = CheckedData()
        self.teacher_variables = (
            only_read(distiller.teacher, distiller.student) if distiller.methods else []
        )
        self.assigned = metrics_of_layers(distiller)
        self.in_place = []
        self.make_gradients(distiller)

    def make_gradients(self, distiller):
        """Rebuilds the pure function of the step, because a traced one is fixed."""
        self.gradients = backend.make_gradient_function(
            distiller, False if distiller.run_eagerly else self.jit_compile
        )


def check_compile(jit_compile, max_skipped_steps):
    """Checks arguments of `Distiller.compile`.

    Args:
        jit_compile: `True`, `False` or `"auto"`.
        max_skipped_steps: Integer of at least 1.

    Returns:
        `max_skipped_steps` as an `int`.
    """
    if not (isinstance(jit_compile, bool) or jit_compile == "auto"):
        raise ValueError(
            '`jit_compile` must be True, False or "auto". '
            f"Received: jit_compile={jit_compile!r}"
        )
    return check_integer("max_skipped_steps", max_skipped_steps, 1)
