"""Creates the variables that metrics would create for their first batch."""

import keras


def create_metric_variables(metrics, y, y_pred):
    """Creates the variables of metrics before a step is traced.

    Metrics such as `F1Score` and `R2Score` create variables for their first batch, and
    a function that several replicas trace cannot create variables.

    Args:
        metrics: Keras's container of the compiled metrics.
        y: Targets, as nested `keras.KerasTensor`s.
        y_pred: Outputs, as nested `keras.KerasTensor`s.
    """
    batch = keras.tree.flatten(y)[0].shape[0]

    def of_that_batch(leaf):
        return keras.KerasTensor((batch, *leaf.shape[1:]), leaf.dtype)

    given = keras.tree.map_structure(of_that_batch, (y, y_pred))
    _Update(metrics).compute_output_spec(given)


class _Update(keras.layers.Layer):
    """Wraps the metrics in a layer, so that Keras can run them symbolically."""

    def __init__(self, metrics):
        super().__init__()
        self._update = metrics.update_state

    def call(self, inputs):
        y, y_pred = inputs
        self._update(y, y_pred)
        return y_pred
