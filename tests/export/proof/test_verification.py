import json
import shutil

import numpy as np
import pytest

from keras_diffkd.export import VerificationError, format_table, verify
from keras_diffkd.export.records.fingerprints import fingerprint
from keras_diffkd.export.records.manifest import read_manifest, write_manifest


def artifact_file(folder, artifact):
    """The file that is damaged: of a SavedModel, its weights."""
    path = folder / artifact
    if path.is_dir():
        (path,) = path.glob("variables/variables.data*")
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete(path):
    path.unlink()


def edit_manifest(folder, edit):
    manifest = read_manifest(folder)
    edit(manifest)
    write_manifest(folder, manifest)


ARTIFACTS = ["saved_model", "student.onnx", "student.tflite"]


def test_report(exported, student, images):
    predictions = student(images, training=False).numpy().argmax(-1)
    labels = predictions.copy()
    labels[:15] = (labels[:15] + 1) % 5

    report = verify(exported, student, (images, labels))

    assert report["num_samples"] == len(images)
    assert report["failures"] == {}
    assert report["keras"]["accuracy"] == pytest.approx(0.9)
    assert report["keras"]["latency_ms"] > 0
    assert set(report["artifacts"]) == {"saved_model", "onnx", "tflite"}
    for result in report["artifacts"].values():
        assert result["ok"]
        assert 0 <= result["mean_difference"] <= result["max_difference"] <= 1e-4
        assert result["agreement"] == 1.0
        assert result["accuracy"] == pytest.approx(0.9)
        assert result["size"] > 0
        assert result["latency_ms"] > 0
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("artifact", ARTIFACTS)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [(truncate, "truncated"), (flip_a_bit, "sha256 mismatch"), (delete, "missing")],
)
def test_damaged_artifact(artifact, damage, reason, export_copy, student, images):
    damage(artifact_file(export_copy, artifact))

    with pytest.raises(VerificationError, match=f"{artifact}: .*{reason}") as error:
        verify(export_copy, student, images[:4])

    report = error.value.report
    assert list(report["failures"]) == [artifact]
    assert sorted(r["ok"] for r in report["artifacts"].values()) == [False, True, True]
    assert "FAILED" in format_table(report)


def test_every_failed_artifact_is_named(export_copy, student, images):
    shutil.rmtree(export_copy / "saved_model")
    delete(export_copy / "student.onnx")

    with pytest.raises(VerificationError) as error:
        verify(export_copy, student, images[:4])

    assert error.value.report["failures"] == {
        "saved_model": ["missing"],
        "student.onnx": ["missing"],
    }


def test_file_added_to_a_saved_model(export_copy, student, images):
    (export_copy / "saved_model" / "assets").mkdir(exist_ok=True)
    (export_copy / "saved_model" / "assets" / "new.txt").write_text("new")

    with pytest.raises(VerificationError, match=r"assets/new\.txt is not in the man"):
        verify(export_copy, student, images[:4])


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_valid_hash_of_an_invalid_file(artifact, export_copy, student, images):
    path = export_copy / artifact
    (path / "saved_model.pb" if path.is_dir() else path).write_bytes(b"nothing" * 99)

    def rehash(manifest):
        for entry in manifest["artifacts"].values():
            entry.update(fingerprint(export_copy / entry["file"]))

    edit_manifest(export_copy, rehash)
    with pytest.raises(VerificationError, match=f"{artifact}: does not run"):
        verify(export_copy, student, images[:4])


def test_wrong_names(export_copy, student, images):
    def rename(manifest):
        for entry in manifest["artifacts"].values():
            entry["outputs"][0]["name"] = "classes"

    edit_manifest(export_copy, rename)
    with pytest.raises(VerificationError) as error:
        verify(export_copy, student, images[:4])

    assert set(error.value.report["failures"]) == set(ARTIFACTS)
    for reasons in error.value.report["failures"].values():
        assert "wrong outputs: expected classes" in reasons[0]
        assert "found logits" in reasons[0]


def test_another_student(exported, helpers, images):
    with pytest.raises(VerificationError) as error:
        verify(exported, helpers.make_student(seed=7), images)

    assert set(error.value.report["failures"]) == set(ARTIFACTS)
    for result in error.value.report["artifacts"].values():
        assert "out of tolerance" in result["reasons"][0]
        assert result["max_difference"] > 1e-4
        assert result["agreement"] < 1


def test_student_with_other_outputs(exported, helpers, images):
    with pytest.raises(VerificationError, match=r"shape \(150, 5\), expected \(150, 3"):
        verify(exported, helpers.make_student(num_classes=3), images)


def test_tolerance(exported, student, images):
    with pytest.raises(VerificationError, match="allowed is 0"):
        verify(exported, student, images, tolerance=0.0)
    with pytest.raises(ValueError, match="tolerance=-1"):
        verify(exported, student, images, tolerance=-1.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing"),
        ("{", "corrupt"),
        ("[]", "not written by"),
        ('{"generator": "keras_diffkd.export", "version": 99}', "version 99"),
    ],
)
def test_damaged_manifest(content, reason, export_copy, student, images):
    path = export_copy / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_text(content)

    with pytest.raises(
        VerificationError, match=rf"manifest\.json: .*{reason}"
    ) as error:
        verify(export_copy, student, images)
    assert list(error.value.report["failures"]) == ["manifest.json"]


def test_export_that_a_killed_process_left_aside(export_copy, student, images):
    export_copy.rename(export_copy.with_name(".export.previous"))

    verify(export_copy, student, images[:4])

    assert [path.name for path in export_copy.parent.iterdir()] == ["export"]


def test_without_samples(exported, student):
    assert verify(exported, student, None)["samples"].startswith("random")


def test_half_precision_outputs_of_artifacts_would_fail(exported, student, images):
    """The tolerance is tight enough to notice float16."""
    rounded = type(student).from_config(student.get_config())
    rounded.set_weights([np.float32(np.float16(w)) for w in student.get_weights()])
    with pytest.raises(VerificationError, match="out of tolerance"):
        verify(exported, rounded, images)
