"""A classifier with DiffKD and balanced weights on one and on two replicas."""

import keras
import numpy as np
from helpers.devices import scope_of
from helpers.replicas.comparison import check_same, freeze_statistics
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import DiffKD, Distiller, FitNet, LogitsKD


class DrawsOfSamples(DiffKD):
    """A DiffKD whose draws depend on the sample, not on the replica that has it."""

    def compute_losses(self, teacher_features, *args, **kwargs):
        seed = keras.ops.cast(teacher_features, "float32")[..., : self.latent_channels]
        timesteps = keras.ops.abs(keras.ops.sin(keras.ops.sum(seed, axis=(1, 2, 3))))
        return super().compute_losses(
            teacher_features,
            *args,
            init_noise=keras.ops.sin(37.0 * seed),
            denoise_noise=keras.ops.cos(53.0 * seed),
            timesteps=keras.ops.cast(999.0 * timesteps, "int32"),
            **kwargs,
        )


def make_methods():
    diffkd = DrawsOfSamples(
        "features",
        "features",
        latent_channels=8,
        num_inference_steps=1,
        name="diffkd",
    )
    return [FitNet("features", "features", weight="balanced"), LogitsKD(), diffkd]


def train(replicas, jit_compile):
    """Returns logs, weights and predictions after two epochs."""
    keras.utils.set_random_seed(0)
    # 33 samples in batches of 16: the last batch leaves one replica without any.
    x, y = random_batch(np.random.default_rng(0), 33)
    weights = np.linspace(0.5, 2.0, 33)
    with scope_of(replicas):
        methods = make_methods()
        student = small_cnn(6)
        distiller = Distiller(small_cnn(12), student, methods)
        freeze_statistics(student)
        freeze_statistics(methods[-1])
        distiller.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            cross_entropy(),
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )
    logs = distiller.fit(
        x,
        y,
        sample_weight=weights,
        batch_size=16,
        epochs=2,
        validation_data=(x, y),
        shuffle=False,
        verbose=0,
    ).history
    return {
        "logs": {name: values[-1] for name, values in logs.items()},
        "weights": [np.array(v).tolist() for v in distiller.trainable_variables],
        "outputs": distiller.predict(x, batch_size=16, verbose=0).tolist(),
    }


def results():
    """Trains on one replica, and on two with XLA."""
    return [train(1, jit_compile=False), train(2, jit_compile=True)]


def check(found):
    """Checks weights, all logs, validation on uneven batches, predictions."""
    one, two = found
    check_same(two, one)
    assert {"diffkd/distill", "val_loss", "val_accuracy"} < set(two["logs"])
    np.testing.assert_allclose(two["outputs"], one["outputs"], rtol=1e-3, atol=1e-4)
