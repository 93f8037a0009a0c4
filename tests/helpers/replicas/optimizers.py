"""Optimizers on two replicas: they clip the gradients of the global batch."""

import keras
import numpy as np
from helpers.devices import scope_of

from keras_diffkd import Distiller, LogitsKD

SGD, AdamW = keras.optimizers.SGD, keras.optimizers.AdamW
scaled = keras.optimizers.LossScaleOptimizer
OPTIMIZERS = {
    "global_clipnorm": lambda: SGD(0.1, global_clipnorm=0.01),
    "clipnorm": lambda: SGD(0.1, clipnorm=0.01),
    "clipvalue": lambda: SGD(0.1, clipvalue=0.001),
    "scaled": lambda: scaled(SGD(0.1, global_clipnorm=0.01)),
    "adamw": lambda: AdamW(0.01, weight_decay=0.1, clipnorm=0.01, use_ema=True),
}
REFUSED = {
    "gradient_accumulation_steps": lambda: SGD(0.1, gradient_accumulation_steps=2),
    "ema_overwrite_frequency": lambda: scaled(
        SGD(0.1, use_ema=True, ema_overwrite_frequency=2)
    ),
}


def network():
    vector = keras.Input((6,))
    return keras.Model(vector, keras.layers.Dense(3)(vector))


class Anneal(keras.callbacks.Callback):
    """Changes what the task weighs before every step."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.task_loss_weight = 1.0 - batch / 4


def train(make_optimizer, replicas, weight=1.0, callbacks=()):
    """Returns the optimizer, and by how much every weight has moved."""
    random = np.random.default_rng(0)
    # The replicas' gradients are unlike each other, and the last batch is uneven.
    x = random.normal(size=(35, 6)).astype("float32") * np.linspace(1, 4, 35)[:, None]
    y = random.integers(0, 3, 35)
    with scope_of(replicas):
        keras.utils.set_random_seed(0)
        distiller = Distiller(network(), network(), [LogitsKD(weight=weight)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile(make_optimizer(), loss, preflight=False)
    before = distiller.student.get_weights()
    distiller.fit(
        x, y, batch_size=16, shuffle=False, verbose=0, callbacks=list(callbacks)
    )
    after = distiller.student.get_weights()
    moved = [(a - b).tolist() for a, b in zip(after, before, strict=True)]
    return distiller.optimizer, moved


def trained(make_optimizer, **arguments):
    (_, one), (optimizer, two) = (
        train(make_optimizer, count, **arguments) for count in (1, 2)
    )
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    left = "_all_reduce_sum_gradients" in vars(inner)
    return {"one": one, "two": two, "optimizer_is_as_before": not left}


def refused(make_optimizer):
    try:
        train(make_optimizer, 2)
    except ValueError as error:
        return str(error)


def results():
    """Trains with every optimizer; returns the weights, or the refusal."""
    return {
        "trained": {name: trained(make) for name, make in OPTIMIZERS.items()}
        | {
            "weights of losses": trained(
                lambda: SGD(0.1),
                weight=keras.optimizers.schedules.PolynomialDecay(0.0, 3, 2.0),
                callbacks=[Anneal()],
            )
        },
        "refused": {name: refused(make) for name, make in REFUSED.items()},
    }


def check(found):
    """Two replicas end as one; the optimizer is left as it was."""
    for name, result in found["trained"].items():
        assert result["optimizer_is_as_before"], name
        for one, two in zip(result["one"], result["two"], strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6, err_msg=name)
    # Three steps of at most 0.1 * 0.01 each.
    moved = found["trained"]["global_clipnorm"]["two"]
    assert np.sqrt(sum(np.square(m).sum() for m in moved)) <= 0.003 * 1.001
    for name, said in found["refused"].items():
        assert f"{name}=2 on 2 replicas" in said
