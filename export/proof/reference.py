"""Runs the Keras student, with which all artifacts are compared."""

import dataclasses
import statistics
import time

import numpy as np
import tensorflow as tf

from ..formats.base import Runner
from ..formats.saved_model import tensorflow_threads
from ..serving.predictions import find_predictions
from ..serving.samples import Samples
from ..serving.sizes import resized
from ..serving.tensors import describe
from .comparison import is_constant
from .metrics import measure

BATCH_SIZE = 128
# Of inputs. The activations of large images take a hundred times as much.
BATCH_BYTES = 2**24
# Of timing. A hundred calls of microseconds end before the processor has settled.
LEAST_SECONDS, MOST_SECONDS = 0.05, 0.5
LEAST_CALLS, ENOUGH_CALLS = 5, 100


class KerasRunner(Runner):
    """The Keras student in a `tf.function`.

    Always on the CPU, as the runners of files are: a GPU's float32 convolutions round
    to fewer bits than the tolerance allows.

    Args:
        serving: `Serving`.

    Example:

    ```python
    KerasRunner(serving).run({"image": images})["logits"]
    ```
    """

    def __init__(self, serving):
        self.num_threads = tensorflow_threads()
        self.inputs = describe(serving.inputs)
        self.outputs = describe(serving.outputs)
        self._serving = serving
        # Not the trace that the artifacts were written from.
        self._function = tf.function(
            lambda inputs: serving.student(inputs, training=False),
            autograph=False,
            reduce_retracing=True,
        )

    def run(self, arrays):
        """Runs the student."""
        with tf.device("/CPU:0"):
            inputs = tf.nest.map_structure(
                tf.constant, self._serving.student_inputs(arrays)
            )
            outputs = self._serving.name_outputs(self._function(inputs))
        return {name: output.numpy() for name, output in outputs.items()}


@dataclasses.dataclass(frozen=True)
class Reference:
    """The outputs of the Keras student, and its measurements.

    Attributes:
        serving: `Serving` of the student.
        samples: `Samples`.
        metrics: callable or None, see `measure`.
        outputs: dict of arrays by output name, for all samples.
        predictions: dict of `Prediction`s by output name: how they are read.
        values: dict, the metrics of these outputs.
        parameters: int, of the student.
        latency_ms: float, median of one call; of one example, unless artifacts are made
            for more.
        num_threads: int, of TensorFlow.
        other: `Reference` of a few samples of another size, or None if the student
            takes one size alone.
        simulations: dict in which `compare_with_simulation` keeps each `Simulation`.

    Example:

    ```python
    make_reference(serving, samples).values  # {"accuracy": 0.985}
    ```
    """

    serving: object
    samples: Samples
    metrics: object
    outputs: dict
    predictions: dict
    values: dict
    parameters: int
    latency_ms: float
    num_threads: int
    other: object = None
    simulations: dict = dataclasses.field(default_factory=dict)


def make_reference(serving, samples, metrics=None):
    """Runs the Keras student on the samples and measures it.

    Args:
        serving: `Serving` of the student.
        samples: `Samples`.
        metrics: callable or None, see `measure`.

    Returns:
        `Reference`.

    Raises:
        ValueError: if the student's own outputs are not finite, or all the same, or
            if `metrics` returns no floats by name.

    Example:

    ```python
    reference = make_reference(serving, samples)
    ```
    """
    runner = KerasRunner(serving)
    outputs = predict(runner, samples)
    _check_outputs(serving, outputs, samples)
    labels = samples.targets if metrics is None else None
    predictions = find_predictions(serving, labels)
    reference = Reference(
        serving=serving,
        samples=samples,
        metrics=metrics,
        outputs=outputs,
        predictions=predictions,
        values=measure(metrics, outputs, samples.targets, predictions),
        parameters=serving.student.count_params(),
        latency_ms=latency_ms(runner, samples, serving.batch_size or 1),
        num_threads=runner.num_threads,
    )
    # A function for each size: artifacts have one for all sizes.
    other = resized(serving, samples, lambda x: KerasRunner(serving).run(x))
    if other is None:
        return reference
    found = dataclasses.replace(
        reference,
        samples=other,
        metrics=None,
        outputs=predict(KerasRunner(serving), other),
        values={"accuracy": None},
    )
    _check_outputs(serving, found.outputs, other)
    return dataclasses.replace(reference, other=found)


def predict(runner, samples):
    """Returns the outputs for all samples: a dict of arrays by output name.

    Example:

    ```python
    predict(FORMATS["onnx"].open("export/student.onnx"), samples)["logits"]
    ```
    """
    starts = range(0, len(samples), runner.batch_size or _batch_size(samples))
    if runner.batch_size:
        inputs = (samples.full_batch(start, starts.step) for start in starts)
    else:
        # The last may be smaller, which shows that the file takes any size.
        inputs = (samples.batch(start, start + starts.step) for start in starts)
    batches = [runner.run(arrays) for arrays in inputs]
    return {
        name: np.concatenate([batch[name] for batch in batches])[: len(samples)]
        for name in batches[0]
    }


def _batch_size(samples):
    size = sum(array.nbytes for array in samples.batch(0, 1).values())
    return min(BATCH_SIZE, max(1, BATCH_BYTES // size))


def latency_ms(runner, samples, batch_size=1):
    """Returns the median time of a call after warming up, within about half a second.

    Example:

    ```python
    latency_ms(FORMATS["onnx"].open("export/student.onnx"), samples)  # 0.021
    ```
    """
    example = samples.full_batch(0, batch_size)
    for _ in range(3):
        runner.run(example)
    times, total = [], 0.0
    while (
        total < LEAST_SECONDS
        or len(times) < LEAST_CALLS
        or (total < MOST_SECONDS and len(times) < ENOUGH_CALLS)
    ):
        start = time.perf_counter()
        runner.run(example)
        times.append(time.perf_counter() - start)
        total += times[-1]
    return 1000 * statistics.median(times)


def _check_outputs(serving, outputs, samples):
    bad = [name for name, out in outputs.items() if not np.all(np.isfinite(out))]
    if bad:
        raise ValueError(
            f"The student '{serving.student.name}' itself gives NaN or infinity on "
            f"the samples. Received: {', '.join(bad)} not finite"
        )
    inputs_differ = not all(map(is_constant, samples.inputs.values()))
    if inputs_differ and all(map(is_constant, outputs.values())):
        raise ValueError(
            f"The student '{serving.student.name}' gives the same output for all "
            f"{len(samples)} samples, so comparing with it would prove nothing. Train "
            "it, or pass the `samples` that it was made for, normalized as in training."
        )
