"""The training steps that `step_time.py` compares."""

import time

import keras
import numpy as np
from flops import step_flops

from keras_diffkd import DiffKD, DistillationMethod, Distiller
from keras_diffkd.models import build_model, with_dtype_policy
from keras_diffkd.training.fused_batch_norm import fused_batch_normalization

PAIRS = {
    # teacher, student, input shape, classes, batch size, latent channels of DiffKD
    "cifar": ("wrn_40_2", "wrn_40_1", (32, 32, 3), 100, 64, None),
    "imagenet": ("resnet50", "mobilenet_v1", (224, 224, 3), 1000, 8, 1024),
}
TITLES = {
    "a": "teacher forward, student forward and backward",
    "a_plain": "the same with Keras's own batch normalization",
    "b": "`keras.distillation.Distiller`, LogitsDistillation",
    "c": "DiffKD features",
    "d": "DiffKD features + logits",
    "c_bfloat16": "DiffKD features, teacher in mixed_bfloat16",
}


class PlainBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization that the step does not fuse, being a class of its own."""


class ForwardOnly(DistillationMethod):
    """Runs the teacher and teaches nothing: what any distillation costs at least."""

    loss_weights = {}
    metric_names = ("teacher_mean",)

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        return {"teacher_mean": keras.ops.mean(teacher_features)}


class Case:
    """One kind of training step, compiled and ready to be timed.

    Args:
        name: A key of `TITLES`.
        pair: A key of `PAIRS`.
        jit_compile: As for `compile`.
        batch_size: Integer, or `None` for the pair's.
        arguments: Arguments of `DiffKD` that differ from the pair's.
    """

    def __init__(self, name, pair, jit_compile, batch_size=None, **arguments):
        teacher, student, shape, classes, default_batch, latent = PAIRS[pair]
        keras.utils.set_random_seed(0)
        self.name = name
        self.batch_size = batch_size or default_batch
        self.teacher = build_model(teacher, shape, classes)
        self.student = build_model(student, shape, classes)
        if name == "a_plain":
            self.teacher, self.student = map(plain, (self.teacher, self.student))
        if name == "c_bfloat16":
            self.teacher = with_dtype_policy(self.teacher, "mixed_bfloat16")
        self.model = self._model({"latent_channels": latent, **arguments})
        self.model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit_compile,
        )
        rng = np.random.default_rng(0)
        x = rng.normal(size=(self.batch_size, *shape)).astype("float32")
        y = rng.integers(0, classes, self.batch_size).astype("int32")
        self.data = repeated(x, y)

    def _model(self, arguments):
        if self.name == "b":
            return keras.distillation.Distiller(
                teacher=self.teacher,
                student=self.student,
                distillation_losses=keras.distillation.LogitsDistillation(),
            )
        features = DiffKD("features", "features", name="features", **arguments)
        methods = {
            "a": [ForwardOnly("features", "features", name="forward")],
            "c": [features],
            "d": [features, DiffKD(distance="kl", name="logits")],
        }
        return Distiller(self.teacher, self.student, methods[self.name[0]])

    def flops(self):
        """Returns the floating-point operations of a step."""
        methods = getattr(self.model, "methods", ())
        return step_flops(self.teacher, self.student, methods, self.batch_size)

    def first_step(self):
        """Returns the seconds of the first `fit` of one step: tracing and compiling."""
        start = time.perf_counter()
        self.model.fit(self.data, steps_per_epoch=1, verbose=0, shuffle=False)
        return time.perf_counter() - start

    def seconds(self, steps):
        """Returns the mean seconds of a step inside `fit`, over `steps` steps."""
        timer = SteadyState(steps)
        self.model.fit(
            self.data,
            steps_per_epoch=steps + 1,
            verbose=0,
            shuffle=False,
            callbacks=[timer],
        )
        return timer.seconds / steps


class SteadyState(keras.callbacks.Callback):
    """Times an epoch without its first step, waiting for the device at both ends."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if batch in (0, self.steps):
            float(logs["loss"])
            now = time.perf_counter()
            if batch == 0:
                self._start = now
            else:
                self.seconds = now - self._start


def plain(model):
    """Returns a copy whose batch normalizations are not fused."""

    def clone(layer):
        config = layer.get_config()
        if type(layer) is keras.layers.BatchNormalization:
            return PlainBatchNormalization.from_config(config)
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=clone)


def student_pass(fused):
    """Returns a function that runs the student forward and backward, in TensorFlow."""
    import tensorflow as tf

    _, name, shape, classes, batch_size, _ = PAIRS["cifar"]
    student = build_model(name, shape, classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x = tf.random.normal((batch_size, *shape))
    y = tf.zeros((batch_size,), tf.int32)

    @tf.function
    def step(x, y):
        with (
            tf.GradientTape() as tape,
            fused_batch_normalization(*([student] if fused else [])),
        ):
            value = loss(y, student(x, training=True))
        return tape.gradient(value, student.trainable_variables)

    step(x, y)
    return lambda: step(x, y)


def on_logical_devices(count, build):
    """Calls `build` under a MirroredStrategy of logical devices of the CPU."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
    with strategy.scope():
        return build()


def accelerator():
    """Returns the name of the GPU that Keras uses, or `None`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return None
        return tf.config.experimental.get_device_details(gpus[0])["device_name"]
    import jax

    device = jax.devices()[0]
    return None if device.platform == "cpu" else device.device_kind


def peak_bytes():
    """Returns the peak of the accelerator's memory, or `None` without one."""
    if not accelerator():
        return None
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    import jax

    return jax.devices()[0].memory_stats()["peak_bytes_in_use"]


def repeated(x, y):
    """Returns data that gives the same batch for ever, at next to no cost."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensors((x, y)).cache().repeat()

    def batches():
        while True:
            yield x, y

    return batches()
