"""Changed bits and cut ends: found, or without any effect on what is loaded."""

import json
import zipfile

import numpy as np
import pytest

from keras_diffkd.errors import ManifestError
from keras_diffkd.export.records.fingerprints import find_damage
from keras_diffkd.export.records.manifest import read_manifest
from keras_diffkd.models import UnsafeModelError, inspect_keras_file

FLIPS = {
    "student.onnx": 40,
    "student.tflite": 40,
    "saved_model/saved_model.pb": 20,
    "saved_model/variables/variables.index": 20,
    "saved_model/variables/variables.data-00000-of-00001": 20,
    "manifest.json": 80,
}
CUTS = 10


def damaged(content, flips, cuts=CUTS, seed=0):
    """Yields copies with one bit changed, all over the file, and with the end cut off.

    Half of the places are in the first and last hundred bytes, where headers and
    tables of contents are.
    """
    rng = np.random.default_rng(seed)
    size = len(content)
    ends = np.concatenate(
        [np.arange(min(100, size)), np.arange(max(0, size - 100), size)]
    )
    places = [*rng.choice(ends, flips // 2), *rng.integers(0, size, flips - flips // 2)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        yield bytes(changed)
    for length in [0, size - 1, *rng.integers(1, size - 1, cuts - 2)]:
        yield content[:length]


@pytest.mark.parametrize("file", [file for file in FLIPS if "manifest" not in file])
def test_artifacts(file, export_copy):
    manifest = read_manifest(export_copy)
    [entry] = [
        entry
        for entry in manifest["artifacts"].values()
        if entry["file"] == file.partition("/")[0]
    ]
    path, artifact = export_copy / file, export_copy / entry["file"]
    content = path.read_bytes()
    for changed in damaged(content, FLIPS[file]):
        path.write_bytes(changed)
        [reason] = find_damage(artifact, entry)
        assert "corrupt" in reason or "truncated" in reason
    path.write_bytes(content)
    assert find_damage(artifact, entry) == []


def test_manifest(export_copy):
    """What passes does not change the content: white space, for one."""
    path = export_copy / "manifest.json"
    content, expected = path.read_bytes(), read_manifest(export_copy)
    found = harmless = 0
    for changed in damaged(content, FLIPS["manifest.json"]):
        path.write_bytes(changed)
        try:
            assert read_manifest(export_copy) == expected
            assert json.loads(changed) == json.loads(content)
            harmless += 1
        except ManifestError:
            found += 1
    assert found > 4 * harmless


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_model_without_a_checksum_beside_it(student, tmp_path):
    """What the archive itself does not notice changes nothing of the model."""
    path = tmp_path / "student.keras"
    student.save(path)
    content, expected = path.read_bytes(), members(path)
    found = harmless = 0
    for changed in damaged(content, 120):
        path.write_bytes(changed)
        try:
            inspect_keras_file(path)
        except UnsafeModelError:
            found += 1
        else:
            assert members(path) == expected
            harmless += 1
    assert found + harmless == 130
    assert found > 2 * harmless


def test_numbers_of_damages():
    assert sum(FLIPS.values()) >= 200
    assert len(FLIPS) * CUTS >= 50
