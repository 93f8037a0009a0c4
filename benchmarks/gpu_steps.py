"""The training steps that `gpu.py` times, with their data on the device."""

import jax
import keras
import step_cases

from keras_diffkd import DiffKD, Distiller, LogitsKD

step_cases.PAIRS.setdefault(
    "digits", ("digits_teacher", "digits_student", (8, 8, 1), 10, 4, 8)
)


class GpuCase(step_cases.Case):
    """A case of `step_cases.py` on JAX, fed from the memory of the device.

    Args:
        name: A key of `gpu_cases.STEPS`.
        pair: A key of `step_cases.PAIRS`.
        batch_size: Integer.
        arguments: Arguments of `DiffKD` that differ from the pair's.
    """

    def __init__(self, name, pair, batch_size, **arguments):
        super().__init__(name, pair, "auto", batch_size, **arguments)
        # As the base class does; a look at the data would run both models without
        # compiling them, which takes long on a GPU.
        self.model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            preflight=False,
        )
        x, y = next(self.data)
        self.data = step_cases.repeated(jax.device_put(x), jax.device_put(y))

    def _model(self, arguments):
        logits = {
            key: value for key, value in arguments.items() if key != "latent_channels"
        }
        features = DiffKD("features", "features", name="features", **arguments)
        methods = {
            "plain": [step_cases.ForwardOnly("features", "features", name="forward")],
            "kd": [LogitsKD()],
            "features": [features],
            "both": [features, DiffKD(distance="kl", name="logits", **logits)],
        }
        return Distiller(self.teacher, self.student, methods[self.name])
