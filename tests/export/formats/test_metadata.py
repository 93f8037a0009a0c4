import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from keras_diffkd.export import VerificationError, verify
from keras_diffkd.export.formats import FORMATS
from keras_diffkd.export.records.fingerprints import fingerprint
from keras_diffkd.export.records.manifest import read_manifest, write_manifest
from keras_diffkd.features.weights_fingerprint import hash_weights

FILES = {
    "saved_model": "saved_model",
    "onnx": "student.onnx",
    "tflite": "student.tflite",
}


@pytest.mark.parametrize("family", FILES)
def test_what_a_file_says_of_itself(family, exported, student, helpers):
    metadata = FORMATS[family].read_metadata(exported / FILES[family])

    assert metadata["labels"] == helpers.labels
    assert metadata["normalization"] == helpers.normalization
    assert metadata["source"] == {"experiment": "small", "run_dir": "runs/small"}
    assert metadata["input"]["layout"] == "NHWC"
    assert metadata["input"]["normalized_by"] == "caller"
    assert metadata["student"]["weights_sha256"] == hash_weights(student)
    assert metadata["precision"] == "float32"
    assert metadata["versions"]["tensorflow"]


def test_tflite_computes_the_same_with_metadata(export_copy, images):
    path = export_copy / "student.tflite"

    def run():
        runner = Interpreter(str(path)).get_signature_runner()
        return np.concatenate([runner(image=i[None])["logits"] for i in images[:20]])

    before = run()
    FORMATS["tflite"].embed_metadata(path, {"labels": ["ä"] * 1000})
    np.testing.assert_array_equal(run(), before)


@pytest.mark.parametrize("family", FILES)
def test_swapped_labels_in_a_file(family, export_copy, student, images):
    path = export_copy / FILES[family]
    metadata = FORMATS[family].read_metadata(path)
    metadata["labels"] = metadata["labels"][::-1]
    replace(family, path, metadata)
    rehash(export_copy)

    with pytest.raises(VerificationError) as error:
        verify(export_copy, student, images[:8])

    assert error.value.report["failures"] == {
        FILES[family]: [
            "wrong metadata: 'labels' is ['e', 'd', 'c', 'b', 'a'] in the file and "
            "['a', 'b', 'c', 'd', 'e'] in the manifest"
        ]
    }


def test_labels_swapped_in_the_manifest(export_copy, student, images):
    def swap(manifest):
        manifest["labels"] = manifest["labels"][::-1]

    rehash(export_copy, swap)
    with pytest.raises(VerificationError, match="wrong metadata: 'labels'") as error:
        verify(export_copy, student, images[:8])
    assert set(error.value.report["failures"]) == set(FILES.values())


def test_hash_is_of_the_weights(student, helpers):
    assert hash_weights(helpers.make_student()) == hash_weights(student)
    assert hash_weights(helpers.make_student(seed=7)) != hash_weights(student)


def replace(family, path, metadata):
    if family == "tflite":
        # A second entry of the same name would not be read.
        content = path.read_bytes()
        old = json.dumps(["a", "b", "c", "d", "e"]).encode()
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, json.dumps(metadata["labels"]).encode()))
    else:
        FORMATS[family].embed_metadata(path, metadata)


def rehash(folder, edit=lambda manifest: None):
    manifest = read_manifest(folder)
    for entry in manifest["artifacts"].values():
        entry.update(fingerprint(folder / entry["file"]))
    edit(manifest)
    write_manifest(folder, manifest)
