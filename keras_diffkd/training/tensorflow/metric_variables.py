"""The variables that metrics create as they first see a batch."""

import keras


def create_metric_variables(metrics, y, y_pred):
    """Creates them before a step is traced, as `F1Score` and `R2Score` need it.

    What several replicas trace cannot create variables.

    Args:
        metrics: Keras's container of the compiled metrics.
        y: Targets, as nested `keras.KerasTensor`s.
        y_pred: Outputs, likewise.
    """
    batch = keras.tree.flatten(y)[0].shape[0]

    def of_that_batch(leaf):
        return keras.KerasTensor((batch, *leaf.shape[1:]), leaf.dtype)

    given = keras.tree.map_structure(of_that_batch, (y, y_pred))
    _Update(metrics).compute_output_spec(given)


class _Update(keras.layers.Layer):
    """Lets Keras run the metrics symbolically."""

    def __init__(self, metrics):
        super().__init__()
        self._update = metrics.update_state

    def call(self, inputs):
        y, y_pred = inputs
        self._update(y, y_pred)
        return y_pred
