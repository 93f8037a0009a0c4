"""manifest.json: what was exported, from what, and how it was verified."""

import dataclasses
import importlib.metadata
import json
import platform
from pathlib import Path

from keras_diffkd.errors import ManifestError
from keras_diffkd.features.weights_fingerprint import hash_weights

from ..formats import FORMATS
from ..formats.base import METADATA_KEYS
from ..serving.calibration import calibration_warnings
from ..serving.detection import describe_detection
from ..serving.pixels import describe_input
from ..serving.predictions import describe_predictions
from ..serving.tensors import describe
from .artifact import Artifact, read_fields, read_tensors, to_plain
from .fingerprints import find_break, write_sealed

FILE_NAME = "manifest.json"
GENERATOR = "keras_diffkd.export"
VERSION = 1
# Every format involves these.
_DISTRIBUTIONS = ("keras-diffkd", "keras", "tensorflow", "numpy")


@dataclasses.dataclass
class Manifest:
    """The content of manifest.json.

    Attributes:
        student: dict of `name`, `parameters`, `rebuilt_in_float32`, `weights_sha256`.
        input: dict of `describe_input`.
        batch_size: int, or None for any.
        inputs: list of `TensorInfo` of the student.
        outputs: likewise.
        normalization: dict or None. How pixels become the student's input.
        labels: list of str, or None.
        predictions: dict of `describe_predictions`, or None.
        detection: dict of `describe_detection`, or None.
        source: dict or None, as the user gave it.
        versions: dict of str by package.
        warnings: list of str.
        artifacts: dict of `Artifact` by format.
        verification: dict or None. How the export was verified.

    Example:

    ```python
    Manifest.read("runs/digits/export").labels
    ```
    """

    student: dict | None = None
    input: dict | None = None
    batch_size: int | None = None
    inputs: list = dataclasses.field(default_factory=list)
    outputs: list = dataclasses.field(default_factory=list)
    normalization: dict | None = None
    labels: list | None = None
    predictions: dict | None = None
    detection: dict | None = None
    source: dict | None = None
    versions: dict | None = None
    warnings: list = dataclasses.field(default_factory=list)
    artifacts: dict = dataclasses.field(default_factory=dict)
    verification: dict | None = None

    @classmethod
    def of(cls, serving, predictions, formats, calibration=None, **given):
        """Describes an export before there are artifacts.

        Args:
            serving: `Serving`.
            predictions: dict of `Prediction` by output.
            formats: list of names.
            calibration: `Samples` or None.
            **given: `normalization`, `labels` and `source`, as the user gave them.
        """
        detection = describe_detection(serving.student)
        return cls(
            student={
                "name": serving.student.name,
                "parameters": serving.student.count_params(),
                "rebuilt_in_float32": serving.is_rebuilt,
                "weights_sha256": hash_weights(serving.network),
            },
            input=describe_input(serving),
            batch_size=serving.batch_size,
            inputs=describe(serving.inputs, serving.batch_size),
            outputs=describe(serving.outputs, serving.batch_size),
            predictions=describe_predictions(detection, predictions),
            detection=detection,
            versions=versions(formats),
            warnings=calibration_warnings(calibration) if calibration else [],
            **given,
        )

    @classmethod
    def read(cls, folder):
        """Reads and checks the manifest of a folder.

        Raises:
            ManifestError: if there is none, it cannot be read, is not one of ours, or
                is not as it was written.
        """
        return cls.from_json(_read_sealed(Path(folder) / FILE_NAME))

    @classmethod
    def from_json(cls, content):
        """Reads what `to_json` gave.

        Raises:
            ManifestError: if a part is not what it must be.
        """
        size = content.get("batch_size")
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ManifestError(f"corrupt: 'batch_size' is {size!r}")
        detection = content.get("detection")
        is_described = isinstance(detection, dict) and "nms" in detection
        if detection is not None and not is_described:
            raise ManifestError("corrupt: 'nms' of 'detection' is missing")
        artifacts = content.get("artifacts")
        if not isinstance(artifacts, dict) or not artifacts:
            raise ManifestError("corrupt: lists no artifacts")
        known = read_fields(cls, content)
        known["artifacts"] = {
            name: Artifact.from_json(name, entry) for name, entry in artifacts.items()
        }
        return cls(**{**known, **read_tensors(content)})

    def to_json(self):
        """Returns the dict for the file, without its own fingerprint."""
        content = to_plain(self)
        content["artifacts"] = {
            name: artifact.to_json() for name, artifact in self.artifacts.items()
        }
        if self.verification is None:
            del content["verification"]
        return {"generator": GENERATOR, "version": VERSION, **content}

    def metadata(self, kind):
        """Returns the metadata for the file of a `Format`."""
        described = {key: getattr(self, key) for key in METADATA_KEYS}
        described["precision"] = kind.precision
        if kind.name in self.artifacts:
            described |= self.artifacts[kind.name].own_metadata or {}
        return {key: value for key, value in described.items() if value is not None}

    def keep(self, artifacts):
        """Adds artifacts of an earlier export, in the order of all formats."""
        known = {**artifacts, **self.artifacts}
        self.artifacts = {name: known[name] for name in FORMATS if name in known}

    def record(self, report):
        """Adds the findings of a `Report`, without timings of this machine."""
        self.verification = report.summary()
        for name, result in report.artifacts.items():
            self.artifacts[name].verification = result.summary()


def write_manifest(folder, content):
    """Writes the manifest into a folder, and returns it with its own fingerprint.

    Args:
        folder: that of the export.
        content: dict of `Manifest.to_json`.

    Example:

    ```python
    write_manifest("export", manifest.to_json())
    ```
    """
    return write_sealed(Path(folder) / FILE_NAME, content)


def read_manifest(folder):
    """Returns the dict that `manifest.json` holds, after all checks of `Manifest.read`.

    Raises:
        ManifestError: see `Manifest.read`.

    Example:

    ```python
    read_manifest("runs/digits/export")["artifacts"]["onnx"]["size"]
    ```
    """
    content = _read_sealed(Path(folder) / FILE_NAME)
    Manifest.from_json(content)
    return content


def versions(formats):
    """Returns the versions of Python and of the packages that the formats involve.

    Example:

    ```python
    versions(["onnx"])["tf2onnx"]  # "1.17.0"
    ```
    """
    found = {"python": platform.python_version()}
    packages = [package for name in formats for package in FORMATS[name].packages]
    for package in dict.fromkeys([*_DISTRIBUTIONS, *packages]):
        distribution = package.replace("_", "-")
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            # A flavor of the package under another name (tf-nightly).
            found[distribution] = None
    return found


def _read_sealed(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError("missing") from None
    except (OSError, ValueError) as error:
        raise ManifestError(f"corrupt: {error}") from error
    if not isinstance(content, dict) or content.get("generator") != GENERATOR:
        raise ManifestError(f"not written by {GENERATOR}")
    if content.get("version") != VERSION:
        raise ManifestError(
            f"has version {content.get('version')!r}, and this release reads "
            f"version {VERSION}"
        )
    broken = find_break(content)
    if broken:
        raise ManifestError(broken)
    return content
