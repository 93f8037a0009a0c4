"""Counts the steps of an epoch and the skipped steps."""

import keras


class StepCount(keras.metrics.Metric):
    """Counts the steps of an epoch, including those that the optimizer skips.

    With loss scaling, the optimizer skips a step whose gradients overflow and halves
    the scale. `optimizer.iterations` does not count such steps. If the optimizer can
    skip steps, the log `skipped_steps` reports how many it skipped.

    Attributes:
        steps: Variable, the number of steps in this epoch.
        skipped: Variable, the number of skipped steps in this epoch.
        in_a_row: Variable, the number of skipped steps since the last applied one.
        can_skip: Boolean, whether the optimizer skips steps.
    """

    def __init__(self):
        # Not `floatx`: float16 cannot count beyond 2048.
        super().__init__(name="skipped_steps", dtype="float32")
        self.can_skip = False
        self.steps = self._counter("steps")
        self.skipped = self._counter("skipped")
        self.in_a_row = self._counter("in_a_row")

    def _counter(self, name):
        return self.add_variable((), "zeros", dtype=self.dtype, name=name)

    def update_state(self, skipped=False, share=1.0):
        """Counts a step.

        Args:
            skipped: Boolean scalar, whether the optimizer skips it.
            share: Float, 1 on one replica and 0 on the others, because the logs sum
                over the replicas.
        """
        skipped = keras.ops.cast(skipped, self.dtype)
        self.steps.assign(self.steps + 1)
        self.skipped.assign(self.skipped + skipped * share)
        self.in_a_row.assign((self.in_a_row + 1) * skipped)

    def result(self):
        return {self.name: self.skipped + 0.0} if self.can_skip else {}

    def reset_state(self):
        # `in_a_row` is kept: skipped steps may continue in the next epoch.
        self.steps.assign(0.0)
        self.skipped.assign(0.0)
