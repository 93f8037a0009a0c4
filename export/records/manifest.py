"""manifest.json: what was exported, from what, and how it was verified."""

import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path

from ..errors import ManifestError
from ..formats import FORMATS
from .sealed import find_break, write_sealed

FILE_NAME = "manifest.json"
GENERATOR = "keras_diffkd.export"
VERSION = 1
# Family of formats -> what writes and runs it.
_DISTRIBUTIONS = {
    "saved_model": ("keras-diffkd", "keras", "tensorflow", "numpy"),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "tflite": ("ai-edge-litert",),
}


def describe(specs, batch_size=None):
    """Returns name, shape and dtype of each tensor, as the manifest holds them.

    Args:
        specs: list of `tf.TensorSpec`.
        batch_size: int, or None for any.

    Example:

    ```python
    describe(serving.inputs, 1)
    # [{"name": "image", "shape": [1, 8, 8, 1], "dtype": "float32"}]
    ```
    """
    return [
        {
            "name": spec.name,
            "shape": [batch_size, *spec.shape[1:]],
            "dtype": spec.dtype.name,
        }
        for spec in specs
    ]


def describe_artefact(path, serving, batch_size, precision="float32"):
    """Returns the manifest's entry for an artefact that has just been written.

    Args:
        path: file or folder.
        serving: `Serving` that it was written from.
        batch_size: int, or None for any.
        precision: as in `Format`.

    Example:

    ```python
    describe_artefact("export/student.tflite", serving, batch_size=1)["sha256"]
    ```
    """
    return {
        "file": Path(path).name,
        **digest(path),
        "precision": precision,
        "inputs": describe(serving.inputs, batch_size),
        "outputs": describe(serving.outputs, batch_size),
    }


def digest(path):
    """Returns size in bytes and sha256 of a file, or of a folder with all its files.

    The sha256 of a folder is that of the lines `<sha256>  <relative path>` of its
    files, sorted by path: what `sha256sum` prints for them.

    Example:

    ```python
    digest("export/saved_model")  # {"size": ..., "sha256": ..., "files": {...}}
    ```
    """
    path = Path(path)
    if path.is_file():
        return {"size": path.stat().st_size, "sha256": _sha256(path)}
    files = {
        file.relative_to(path).as_posix(): digest(file)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    lines = [f"{files[name]['sha256']}  {name}\n" for name in sorted(files)]
    return {
        "size": sum(file["size"] for file in files.values()),
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "files": files,
    }


def find_damage(path, entry):
    """Returns why an artefact is not the one that the manifest describes.

    Args:
        path: file or folder.
        entry: dict. The artefact's entry in the manifest.

    Returns:
        list of strings, empty if nothing is wrong.

    Example:

    ```python
    find_damage("export/student.onnx", manifest["artefacts"]["onnx"])  # []
    ```
    """
    path = Path(path)
    if "files" not in entry:
        return _find_file_damage(path, entry)
    if not path.is_dir():
        return ["missing"]
    reasons = [
        f"{name} {reason}"
        for name, file_entry in entry["files"].items()
        for reason in _find_file_damage(path / name, file_entry)
    ]
    found = digest(path)
    reasons += [
        f"{name} is not in the manifest"
        for name in sorted(set(found["files"]) - set(entry["files"]))
    ]
    if not reasons and found["sha256"] != entry["sha256"]:
        reasons = ["sha256 mismatch"]
    return reasons


def _find_file_damage(path, entry):
    if not path.is_file():
        return ["missing"]
    found = digest(path)
    if found["size"] < entry["size"]:
        return [f"truncated: {found['size']} of {entry['size']} bytes"]
    if found["sha256"] != entry["sha256"]:
        return ["corrupt: sha256 mismatch"]
    return []


def versions(formats):
    """Returns the versions of Python and of the packages that the formats involve.

    Example:

    ```python
    versions(["onnx"])["tf2onnx"]  # "1.17.0"
    ```
    """
    found = {"python": platform.python_version()}
    families = [FORMATS[name].family for name in formats]
    for family in dict.fromkeys(["saved_model", *families]):
        for distribution in _DISTRIBUTIONS[family]:
            try:
                found[distribution] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                # A flavour of the package under another name (tf-nightly).
                found[distribution] = None
    return found


def write_manifest(folder, manifest):
    """Writes the manifest into a folder, and returns it with its own checksum.

    Example:

    ```python
    write_manifest("export", manifest)
    ```
    """
    return write_sealed(Path(folder) / FILE_NAME, manifest)


def read_manifest(folder):
    """Reads and checks the manifest of a folder.

    Raises:
        ManifestError: if there is none, it cannot be read, is not one of ours, or is
            not as it was written.

    Example:

    ```python
    read_manifest("runs/digits/export")["artefacts"]["onnx"]["size"]
    ```
    """
    path = Path(folder) / FILE_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError("missing") from None
    except (OSError, ValueError) as error:
        raise ManifestError(f"corrupt: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("generator") != GENERATOR:
        raise ManifestError(f"not written by {GENERATOR}")
    if manifest.get("version") != VERSION:
        raise ManifestError(
            f"has version {manifest.get('version')!r}, and this release reads "
            f"version {VERSION}"
        )
    broken = find_break(manifest)
    if broken:
        raise ManifestError(broken)
    size = manifest.get("batch_size")
    if size is not None and not (isinstance(size, int) and size > 0):
        raise ManifestError(f"corrupt: 'batch_size' is {size!r}")
    detection = manifest.get("detection")
    is_described = isinstance(detection, dict) and "nms" in detection
    if detection is not None and not is_described:
        raise ManifestError("corrupt: 'nms' of 'detection' is missing")
    artefacts = manifest.get("artefacts")
    if not isinstance(artefacts, dict) or not artefacts:
        raise ManifestError("corrupt: lists no artefacts")
    for name, entry in artefacts.items():
        _check_entry(name, entry)
    return manifest


def _check_entry(name, entry):
    if name not in FORMATS or not isinstance(entry, dict):
        raise ManifestError(f"corrupt: unknown artefact '{name}'")
    kinds = {"file": str, "size": int, "sha256": str, "inputs": list, "outputs": list}
    if name == "saved_model":
        kinds["files"] = dict
    for key, kind in kinds.items():
        if not isinstance(entry.get(key), kind):
            raise ManifestError(f"corrupt: '{key}' of the artefact '{name}' is missing")
    if entry["file"] != FORMATS[name].file:
        raise ManifestError(
            f"corrupt: the artefact '{name}' is in '{FORMATS[name].file}', not in "
            f"'{entry['file']}'"
        )


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
