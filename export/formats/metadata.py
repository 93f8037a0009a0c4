"""What every artefact says of itself: the part of the manifest inside the file.

ONNX files have it in `metadata_props`, a JSON value for each key; TFLite files in the
metadata buffer `keras_diffkd`; SavedModels in `assets.extra/keras_diffkd.json`.
"""

import json
from pathlib import Path

from . import FORMATS

NAME = "keras_diffkd"
SAVED_MODEL_FILE = f"assets.extra/{NAME}.json"
_KEYS = (
    "student",
    "input",
    "labels",
    "predictions",
    "normalization",
    "detection",
    "source",
    "versions",
)


def describe_file(manifest, name):
    """Returns what the artefact of a format is to say of itself.

    Args:
        manifest: dict.
        name: of the format.

    Example:

    ```python
    describe_file(manifest, "onnx")["labels"]  # ["no", "yes"]
    ```
    """
    described = {key: manifest.get(key) for key in _KEYS}
    described["precision"] = FORMATS[name].precision
    return {key: value for key, value in described.items() if value is not None}


def embed(family, path, metadata):
    """Writes metadata into an artefact, which computes the same afterwards.

    Args:
        family: "saved_model", "onnx" or "tflite".
        path: file or folder.
        metadata: dict of JSON values.

    Example:

    ```python
    embed("onnx", "export/student.onnx", {"labels": ["no", "yes"]})
    ```
    """
    _EMBED[family](Path(path), metadata)


def read_metadata(family, path):
    """Returns the metadata in an artefact; empty if there is none.

    Raises:
        ValueError: if it is no JSON.

    Example:

    ```python
    read_metadata("tflite", "export/student.tflite")["labels"]  # ["no", "yes"]
    ```
    """
    return _READ[family](Path(path))


def find_differences(found, expected):
    """Returns which metadata of a file is not the manifest's, as a list of reasons.

    Example:

    ```python
    find_differences({"labels": ["a"]}, {"labels": ["b"]})
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


def _embed_in_saved_model(path, metadata):
    file = path / SAVED_MODEL_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(metadata, indent=2), encoding="utf-8")


def _read_saved_model(path):
    file = path / SAVED_MODEL_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _embed_in_onnx(path, metadata):
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(
        model, {key: json.dumps(value) for key, value in metadata.items()}
    )
    path.write_bytes(model.SerializeToString())


def _read_onnx(path):
    # As a program that runs the file reads it: without the package onnx.
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    properties = session.get_modelmeta().custom_metadata_map
    # Tools that write ONNX files add properties of their own.
    known = {*_KEYS, "precision"}
    return {key: json.loads(properties[key]) for key in properties if key in known}


def _embed_in_tflite(path, metadata):
    from ai_edge_litert.tools import flatbuffer_utils

    model = _read_flatbuffer(path)
    buffer = flatbuffer_utils.BufferT()
    buffer.data = list(json.dumps(metadata).encode())
    model.buffers.append(buffer)
    entry = flatbuffer_utils.schema_fb.MetadataT()
    entry.name = NAME
    entry.buffer = len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _read_tflite(path):
    model = _read_flatbuffer(path)
    for entry in model.metadata or []:
        if entry.name.decode() == NAME:
            return json.loads(bytes(model.buffers[entry.buffer].data))
    return {}


def _read_flatbuffer(path):
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(path.read_bytes()))


_EMBED = {
    "saved_model": _embed_in_saved_model,
    "onnx": _embed_in_onnx,
    "tflite": _embed_in_tflite,
}
_READ = {
    "saved_model": _read_saved_model,
    "onnx": _read_onnx,
    "tflite": _read_tflite,
}
