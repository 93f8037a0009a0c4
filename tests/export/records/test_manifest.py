import hashlib

import pytest

from keras_diffkd.errors import ManifestError
from keras_diffkd.export.records.fingerprints import find_damage, fingerprint
from keras_diffkd.export.records.manifest import (
    Manifest,
    read_manifest,
    versions,
    write_manifest,
)


def test_fingerprint_of_a_folder_is_that_of_the_lines_of_sha256sum(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "y").write_bytes(b"second")
    (tmp_path / "a").write_bytes(b"first")
    lines = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in (("a", b"first"), ("b/y", b"second"))
    )

    found = fingerprint(tmp_path)

    assert found["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert found["size"] == 11
    assert list(found["files"]) == ["a", "b/y"]
    assert find_damage(tmp_path, found) == []
    assert find_damage(tmp_path, {**found, "sha256": "0"}) == ["sha256 mismatch"]


@pytest.mark.parametrize(
    ("artifacts", "message"),
    [
        ({}, "no artifacts"),
        ({"coreml": {}}, "unknown artifact 'coreml'"),
        ({"onnx": {"file": "student.onnx", "size": "3"}}, "'size'"),
        (
            {
                "onnx": {
                    "file": "../../student.onnx",
                    "size": 3,
                    "sha256": "",
                    "inputs": [],
                    "outputs": [],
                }
            },
            "not in",
        ),
    ],
)
def test_unusable_entries(artifacts, message, tmp_path):
    write_manifest(
        tmp_path,
        {"generator": "keras_diffkd.export", "version": 1, "artifacts": artifacts},
    )
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path)


def test_versions_of_what_was_used():
    assert "onnx" not in versions(["tflite"])
    assert versions(["tflite"])["ai-edge-litert"]
    assert versions(["onnx"])["tensorflow"]


def test_what_is_read_is_written_again(exported):
    content = read_manifest(exported)
    again = Manifest.read(exported).to_json()
    assert {**again, "sha256": content["sha256"]} == content


def test_parts_that_older_exports_lack(exported):
    content = read_manifest(exported)
    for key in ("batch_size", "input", "predictions", "warnings", "verification"):
        del content[key]
    del content["artifacts"]["onnx"]["precision"]
    manifest = Manifest.from_json(content)
    assert (manifest.batch_size, manifest.warnings) == (None, [])
    assert manifest.artifacts["onnx"].precision == "float32"


@pytest.mark.parametrize("tensor", [{}, {"name": "image", "dtype": "int8"}, "image"])
def test_tensors_that_are_none(tensor, exported):
    content = read_manifest(exported)
    content["artifacts"]["onnx"]["inputs"] = [tensor]
    with pytest.raises(ManifestError, match="corrupt: Expected a dict with name, sha"):
        Manifest.from_json(content)
