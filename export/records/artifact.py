"""The manifest's entry for one file or folder."""

import dataclasses
from pathlib import Path

from keras_diffkd.errors import ManifestError

from ..formats import FORMATS
from ..serving.calibration import describe_ranges
from ..serving.tensors import TensorInfo
from .fingerprints import fingerprint


@dataclasses.dataclass
class Artifact:
    """The manifest's entry for one file or folder.

    Attributes:
        file: str, its name.
        size: int, in bytes.
        sha256: str; see `fingerprint`.
        files: dict of the fingerprints of files in a folder, or None.
        precision: str; see `Format`.
        inputs: list of `TensorInfo`.
        outputs: likewise.
        quantization: dict or None. What is quantized, and where the ranges are from.
        verification: dict or None. What was found when it was exported.
        own_metadata: dict or None. Metadata in the file that is not the manifest's,
            since an earlier export wrote it.

    Example:

    ```python
    Manifest.read("export").artifacts["onnx"].size
    ```
    """

    file: str
    size: int
    sha256: str
    files: dict | None
    precision: str
    inputs: list
    outputs: list
    quantization: dict | None = None
    verification: dict | None = None
    own_metadata: dict | None = None

    @classmethod
    def of(cls, kind, path, serving, calibration=None, ranges=None):
        """Describes what has just been written.

        Args:
            kind: `Format`.
            path: file or folder.
            serving: `Serving` that it was written from.
            calibration: `Samples` that it was quantized with, or None.
            ranges: `QuantizationRanges` that it was quantized with, or None.
        """
        inputs, outputs = kind.describe(serving, path)
        quantization = kind.quantization.get(kind.precision)
        if kind.needs_calibration:
            quantization = {**quantization, **describe_ranges(calibration, ranges)}
        return cls(
            Path(path).name,
            **{"files": None, **fingerprint(path)},
            precision=kind.precision,
            inputs=inputs,
            outputs=outputs,
            quantization=quantization,
        )

    @classmethod
    def from_json(cls, name, content):
        """Reads the entry of a format.

        Raises:
            ManifestError: if it is not one, or names a file of another format.
        """
        if name not in FORMATS or not isinstance(content, dict):
            raise ManifestError(f"corrupt: unknown artifact '{name}'")
        types = {"file": str, "size": int, "sha256": str}
        types |= {"inputs": list, "outputs": list}
        if not FORMATS[name].extension:  # A folder.
            types["files"] = dict
        for key, kind in types.items():
            if not isinstance(content.get(key), kind):
                raise ManifestError(
                    f"corrupt: '{key}' of the artifact '{name}' is missing"
                )
        if content["file"] != FORMATS[name].file:
            raise ManifestError(
                f"corrupt: the artifact '{name}' is in '{FORMATS[name].file}', not in "
                f"'{content['file']}'"
            )
        if not isinstance(content.get("own_metadata"), dict | None):
            raise ManifestError(f"corrupt: 'own_metadata' of the artifact '{name}'")
        known = read_fields(cls, content)
        known = {"files": None, "precision": FORMATS[name].precision, **known}
        return cls(**{**known, **read_tensors(content)})

    def to_json(self):
        """Returns the dict for the manifest."""
        content = to_plain(self)
        for key in ("files", "quantization", "verification", "own_metadata"):
            if content[key] is None:
                del content[key]
        return content


def read_tensors(content):
    """Returns `inputs` and `outputs` of a dict, lists of `TensorInfo`.

    Raises:
        ManifestError: if they are others.

    Example:

    ```python
    read_tensors({"inputs": [{"name": "image", "shape": [None], "dtype": "int32"}]})
    ```
    """
    try:
        return {
            key: [TensorInfo.from_json(entry) for entry in content.get(key) or []]
            for key in ("inputs", "outputs")
        }
    except ValueError as error:
        raise ManifestError(f"corrupt: {error}") from error


def read_fields(kind, content):
    """Returns the entries of a dict that are fields of a dataclass.

    Example:

    ```python
    read_fields(Artifact, {"size": 3, "color": "red"})  # {"size": 3}
    ```
    """
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: content[name] for name in names if name in content}


def to_plain(record):
    """Returns the fields of a dataclass as a dict, with its tensors as JSON.

    Example:

    ```python
    to_plain(artifact)["inputs"][0]["name"]  # "image"
    ```
    """
    fields = dataclasses.fields(record)
    content = {field.name: getattr(record, field.name) for field in fields}
    for key in ("inputs", "outputs"):
        content[key] = [tensor.to_json() for tensor in content[key]]
    return content
