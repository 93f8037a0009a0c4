"""How many steps there were, and how many of them were skipped."""

import keras


class StepCount(keras.metrics.Metric):
    """Counts the steps of an epoch; `optimizer.iterations` leaves skipped ones out.

    With loss scaling, a step whose gradients overflow is skipped and the scale halved.
    The log `skipped_steps` says how often, where that can happen.

    Attributes:
        steps: Variable, steps of this epoch.
        skipped: Variable, skipped steps of this epoch.
        in_a_row: Variable, skipped steps since the last one that was not.
        can_skip: Whether the optimizer skips steps.
    """

    def __init__(self):
        super().__init__(name="skipped_steps")
        self.can_skip = False
        self.steps = self.add_variable((), "zeros", name="steps")
        self.skipped = self.add_variable((), "zeros", name="skipped")
        self.in_a_row = self.add_variable((), "zeros", name="in_a_row")

    def update_state(self, skipped=False, share=1.0):
        """Counts a step.

        Args:
            skipped: Boolean scalar, whether the optimizer skips it.
            share: Float, 1 on one replica and 0 on the others: logs are sums.
        """
        skipped = keras.ops.cast(skipped, self.dtype)
        self.steps.assign(self.steps + 1)
        self.skipped.assign(self.skipped + skipped * share)
        self.in_a_row.assign((self.in_a_row + 1) * skipped)

    def result(self):
        return {self.name: self.skipped + 0.0} if self.can_skip else {}

    def reset_state(self):
        # A row of skipped steps may go over the end of an epoch.
        self.steps.assign(0.0)
        self.skipped.assign(0.0)
