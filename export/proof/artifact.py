"""Checks one artifact against the manifest and the Keras student."""

from ..records.fingerprints import find_damage
from ..records.results import ArtifactResult, Thresholds
from ..serving.graph import used_variables
from ..serving.sizes import unknown_axes
from .comparison import compare
from .judgment import judge
from .reference import latency_ms, predict
from .simulation import compare_with_simulation

_BYTES = {"float32": 4, "float16": 2, "dynamic_int8": 1, "int8": 1}


def check_artifact(kind, folder, manifest, reference, thresholds):
    """Returns the `ArtifactResult` of one artifact.

    Args:
        kind: `Format`.
        folder: `Path` of the export.
        manifest: `Manifest`.
        reference: `Reference` of the student.
        thresholds: `Thresholds`.

    Example:

    ```python
    check_artifact(FORMATS["onnx"], folder, manifest, reference, Thresholds()).ok
    ```
    """
    entry = manifest.artifacts[kind.name]
    path = folder / entry.file
    result = ArtifactResult(
        entry.file,
        entry.size,
        entry.sha256,
        kind.precision,
        metrics=dict.fromkeys(reference.values),
    )
    result.reasons = find_damage(path, entry.to_json())
    if result.reasons:  # Some runtimes crash on such a file.
        return result
    reasons = [
        *_check_metadata(kind, path, manifest),
        *find_size_problem(entry.size, kind.precision, reference.serving),
        *_inspect(kind, path),
    ]
    try:
        outputs, wrong, warnings = _run(
            kind, path, entry, reference, thresholds, result
        )
    except Exception as error:  # Each runtime raises its own, some without a word.
        message = str(error).strip() or type(error).__name__
        outputs, wrong = None, [f"does not run: {message.splitlines()[0]}"]
    if outputs is None:
        result.reasons = wrong + reasons
        return result
    result.simulation, others = compare_with_simulation(
        entry, outputs, reference, thresholds
    )
    # Learned ranges are those of real inputs: others are cut off there.
    is_cut_off = result.simulation is not None and reference.samples.is_random
    found = judge(kind.precision, outputs, reference, thresholds, not is_cut_off)
    result.reasons = found.reasons + others + wrong + reasons
    result.warnings = found.warnings + warnings
    result.measured = found.measured
    result.metrics |= found.metrics
    return result


def _run(kind, path, entry, reference, thresholds, result):
    """Runs an artifact on the samples, and adds timings to its result.

    Returns:
        `(outputs, reasons, warnings)`: a dict of arrays, None if the file does not take
        the samples; and two lists of strings.
    """
    runner = kind.open(path)
    result.batch_size = runner.batch_size
    result.num_threads = runner.num_threads
    reasons = _check_interface(runner, entry) or _check_sizes(entry, reference.samples)
    if reasons:
        return None, reasons, []
    outputs = predict(runner, reference.samples)
    others = _judge_other_size(kind, runner, entry, reference, thresholds)
    size = runner.batch_size or 1
    result.latency_ms = latency_ms(runner, reference.samples, size)
    return outputs, others, runner.find_warnings()


def _check_interface(runner, entry):
    reasons = []
    for kind in ("inputs", "outputs"):
        expected = sorted(getattr(entry, kind), key=lambda tensor: tensor.name)
        found = sorted(getattr(runner, kind), key=lambda tensor: tensor.name)
        if found != expected:
            reasons.append(
                f"wrong {kind}: expected {', '.join(map(str, expected))}, "
                f"found {', '.join(map(str, found))}"
            )
    return reasons


def _check_sizes(entry, samples):
    """Returns why samples do not fit a file that was made for one of many sizes."""
    for tensor in entry.inputs:
        given = samples.inputs[tensor.name].shape[1:]
        sizes = zip(tensor.shape[1:], given, strict=True)
        if any(size not in (None, of_sample) for size, of_sample in sizes):
            return [
                f"takes '{tensor.name}' only of shape {tensor.shape}, and the samples "
                f"are of {list(given)}; pass samples of that shape"
            ]
    return []


def _judge_other_size(kind, runner, entry, reference, thresholds):
    """Judges an artifact at another size, if it takes any; returns reasons."""
    other = reference.other
    if other is None or not unknown_axes(entry.inputs):
        return []
    outputs = predict(runner, other.samples)
    if kind.precision == "float32":
        reasons = judge(kind.precision, outputs, other, thresholds).reasons
    else:  # These are a few examples, and not those of the task.
        _, reasons = compare(outputs, other.outputs, None, must_agree=False)
    shapes = [list(array.shape[1:]) for array in other.samples.inputs.values()]
    return [f"with inputs of {shapes}: {reason}" for reason in reasons]


def _inspect(kind, path):
    """Inspects the file before it runs, because a runtime's own words say less."""
    try:
        return kind.inspect(path)
    except Exception:  # An unreadable file does not run either, which says enough.
        return []


def find_size_problem(size, precision, serving):
    """Returns why a file is too small to hold the student, as a list of reasons.

    Only kernels count: biases and batch normalization are folded into others.

    Args:
        size: int, in bytes.
        precision: as in `Format`.
        serving: `Serving` of the student.

    Example:

    ```python
    find_size_problem(400, "float32", serving)  # ["implausibly small: ..."]
    ```
    """
    kernels = sum(
        variable.shape.num_elements()
        for variable in used_variables(serving.trace)
        if variable.shape.rank > 1
    )
    least = int(Thresholds.share_of_kernel_bytes * kernels * _BYTES[precision])
    if size >= least:
        return []
    return [
        f"implausibly small: {size} bytes for {kernels} kernel weights in "
        f"{precision}, expected at least {least}; weights are missing"
    ]


def _check_metadata(kind, path, manifest):
    try:
        found = kind.read_metadata(path)
    except Exception as error:  # Each reader raises its own.
        message = " ".join(str(error).split())[:200] or type(error).__name__
        return [f"wrong metadata: it cannot be read: {message}"]
    return compare_metadata(found, manifest.metadata(kind))


def compare_metadata(found, expected):
    """Returns which metadata of a file is not the manifest's, as a list of reasons.

    Example:

    ```python
    compare_metadata({"labels": ["a"]}, {"labels": ["b"]})
    # ["wrong metadata: 'labels' is ['a'] in the file and ['b'] in the manifest"]
    ```
    """
    if not found:
        return ["wrong metadata: the file has none; export the student again"]
    return [
        f"wrong metadata: '{key}' is {_shorten(found.get(key))} in the file and "
        f"{_shorten(expected.get(key))} in the manifest"
        for key in sorted({*found, *expected})
        if found.get(key) != expected.get(key)
    ]


def _shorten(value):
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
