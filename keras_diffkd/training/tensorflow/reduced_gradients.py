"""Sums gradients over the replicas before the optimizer clips them.

Keras's optimizers clip the gradients of each replica and sum them afterwards, so the
result depends on the number of replicas.
"""

import tensorflow as tf

from keras_diffkd.keras_private.trainer import without_reduction

# Settings that Keras does not support on several replicas, and the advice for each.
UNABLE = {
    "gradient_accumulation_steps": " and make the batch as large as memory allows",
    "ema_overwrite_frequency": ": the averages are in the weights after `fit` anyway",
}


def apply_reduced(optimizer, gradients, variables):
    """Sums the gradients over the replicas and applies the sums.

    Args:
        optimizer: A `keras.optimizers.Optimizer`.
        gradients: List of this replica's share of the gradients. `None` stands for a
            variable without a gradient.
        variables: List of the variables of the gradients.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync > 1:
        given = [gradient for gradient in gradients if gradient is not None]
        sums = iter(context.all_reduce("SUM", given) if given else [])
        gradients = [None if gradient is None else next(sums) for gradient in gradients]
    # Keras would reduce the gradients of a single replica, too: one operation for each.
    with without_reduction(_inner(optimizer)):
        optimizer.apply(gradients, variables)


def check_optimizer(optimizer, strategy):
    """Raises `ValueError` for settings that need a single replica."""
    if strategy.num_replicas_in_sync == 1:
        return
    for name, instead in UNABLE.items():
        value = getattr(_inner(optimizer), name, None)
        if value:
            raise ValueError(
                f"Keras's optimizers cannot use `{name}` on several replicas. "
                f"Received: {name}={value} on {strategy.num_replicas_in_sync} "
                f"replicas. Remove it{instead}, or train on one replica."
            )


def _inner(optimizer):
    """Returns the optimizer itself, without the loss scaling around it."""
    return getattr(optimizer, "inner_optimizer", optimizer)
