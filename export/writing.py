"""Writes the artifacts of an export."""

import errno
import os

from keras_diffkd.errors import ExportError
from keras_diffkd.full_disk import is_full_disk

from .formats import FORMATS
from .quiet import last_words, quiet
from .records.artifact import Artifact
from .serving.sizes import with_sizes


def write_artifacts(
    formats, reference, folder, manifest, *, opset, calibration, quantized, ranges
):
    """Adds the artifacts to the manifest, and returns the errors of all others.

    Args:
        formats: list of names.
        reference: `Reference` of the student.
        folder: `Path`.
        manifest: `Manifest`.
        opset: int, of ONNX files.
        calibration: `Samples` or None, of quantized activations.
        quantized: `Serving` from `simulated`, or None.
        ranges: `QuantizationRanges` of it, or None.

    Returns:
        dict of `ExportError` by format.

    Example:

    ```python
    write_artifacts(
        ["onnx"], reference, folder, manifest,
        opset=17, calibration=None, quantized=None, ranges=None,
    )
    ```
    """
    errors = {}
    serving = fixed = reference.serving
    if any(FORMATS[name].needs_sizes for name in formats):
        fixed = with_sizes(serving, reference.samples.inputs)
    for name in formats:
        kind = FORMATS[name]
        given = fixed if kind.needs_sizes else serving
        if quantized is not None and kind.needs_calibration:
            is_same = given is serving
            given = quantized if is_same else given.computing(quantized.student)
        try:
            manifest.artifacts[name] = write_artifact(
                kind,
                given,
                folder,
                manifest,
                opset=opset,
                calibration=calibration,
                ranges=ranges,
            )
        except ExportError as error:
            errors[name] = error
    return errors


def write_artifact(kind, serving, folder, manifest, *, opset, calibration, ranges):
    """Writes one artifact with its metadata.

    Args:
        kind: `Format`.
        serving: `Serving`.
        folder: `Path`.
        manifest: `Manifest`, complete but for the artifacts.
        opset: int, of ONNX files.
        calibration: `Samples` or None, of quantized activations.
        ranges: `QuantizationRanges` or None, which `serving` simulates.

    Returns:
        `Artifact`.

    Raises:
        ExportError: if the converter cannot.
        OSError: if the disk is full.

    Example:

    ```python
    write_artifact(
        FORMATS["onnx"], serving, folder, manifest,
        opset=17, calibration=None, ranges=None,
    )
    ```
    """
    path = folder / kind.file
    with quiet() as held:
        try:
            kind.write(serving, path, opset=opset, calibration=calibration)
            kind.embed_metadata(path, manifest.metadata(kind))
            return Artifact.of(kind, path, serving, calibration, ranges)
        except Exception as error:  # Converters raise whatever their inside raises.
            message = " ".join(str(error).split()) or type(error).__name__
            words = last_words(held())
            if is_full_disk(error) or "No space left on device" in words:
                full = errno.ENOSPC
                raise OSError(full, os.strerror(full)) from error
            if words and words not in message:
                message = f"{message[:600]} It wrote: {words}"
            raise ExportError(
                f"The student '{serving.student.name}' cannot be written as "
                f"'{kind.name}'; choose other `formats`, or replace the operation in "
                f"the student. {_advice(message)}Received: {message[:1000]}"
            ) from error


def _advice(message):
    """Returns advice where the user cannot know the operation."""
    if "BitwiseAnd" in message:
        return (
            "`keras.ops.argmax` uses it: leave the argmax to the program that runs the "
            "file, or use `tf.argmax` in a layer of your own. "
        )
    return ""
