"""What artefacts are compared with: the Keras student on the samples."""

import dataclasses
import statistics
import time

import numpy as np

from ..formats.runtimes import KerasRuntime
from ..serving.predictions import find_predictions
from ..serving.samples import Samples
from ..serving.sizes import resized
from .comparison import is_constant
from .metrics import measure

BATCH_SIZE = 128
# Of inputs; what large images become inside a model takes up a hundred times as much.
BATCH_BYTES = 2**24


@dataclasses.dataclass(frozen=True)
class Reference:
    """The outputs of the Keras student and all that is said of them.

    Attributes:
        serving: `Serving` of the student.
        samples: `Samples`.
        metrics: callable or None, see `measure`.
        outputs: dict of arrays by output name, for all samples.
        predictions: dict of `Prediction`s by output name: how they are read.
        values: dict, the metrics of these outputs.
        parameters: int, of the student.
        latency_ms: float, median of one call; of one example, unless artefacts are made
            for more.
        num_threads: int, of TensorFlow.
        other: `Reference` of a few samples of another size, or None if the student
            takes one size alone.

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
    runtime = KerasRuntime(serving)
    outputs = predict(runtime, samples)
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
        latency_ms=latency_ms(runtime, samples, serving.batch_size or 1),
        num_threads=runtime.num_threads,
    )
    # Each size in a function of its own: one for all sizes is what artefacts have.
    other = resized(serving, samples, lambda x: KerasRuntime(serving).run(x))
    if other is None:
        return reference
    found = dataclasses.replace(
        reference,
        samples=other,
        metrics=None,
        outputs=predict(KerasRuntime(serving), other),
        values={"accuracy": None},
    )
    _check_outputs(serving, found.outputs, other)
    return dataclasses.replace(reference, other=found)


def predict(runtime, samples):
    """Returns the outputs for all samples: a dict of arrays by output name.

    Example:

    ```python
    predict(OnnxRuntime("export/student.onnx"), samples)["logits"]
    ```
    """
    starts = range(0, len(samples), runtime.batch_size or _batch_size(samples))
    if runtime.batch_size:
        inputs = (samples.full_batch(start, starts.step) for start in starts)
    else:
        # The last may be smaller, and shows that any size is taken.
        inputs = (samples.batch(start, start + starts.step) for start in starts)
    batches = [runtime.run(arrays) for arrays in inputs]
    return {
        name: np.concatenate([batch[name] for batch in batches])[: len(samples)]
        for name in batches[0]
    }


def _batch_size(samples):
    size = sum(array.nbytes for array in samples.batch(0, 1).values())
    return min(BATCH_SIZE, max(1, BATCH_BYTES // size))


def latency_ms(runtime, samples, batch_size=1):
    """Median time of one call, after warming up; takes about half a second at most.

    Example:

    ```python
    latency_ms(OnnxRuntime("export/student.onnx"), samples)  # 0.021
    ```
    """
    example = samples.full_batch(0, batch_size)
    for _ in range(3):
        runtime.run(example)
    times, total = [], 0.0
    # A hundred calls of microseconds are over before the processor has settled.
    while total < 0.05 or len(times) < 5 or (total < 0.5 and len(times) < 100):
        start = time.perf_counter()
        runtime.run(example)
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
            "it, or pass the `samples` that it was made for, normalised as in training."
        )
