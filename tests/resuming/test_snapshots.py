import json
import shutil

import ml_dtypes
import numpy as np
import pytest

from keras_diffkd.resuming import snapshots as training_units
from keras_diffkd.resuming.snapshots import TrainingUnits


def arrays(value=1.0):
    return {
        "kernel": np.full((3, 2), value, "float32"),
        "bias": np.arange(2).astype(ml_dtypes.bfloat16),
        "seed": np.array([7, 1], "uint32"),
        "scalar": np.array(3, "int64"),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 4), "float32"),
    }


@pytest.fixture
def units(tmp_path):
    units = TrainingUnits(tmp_path / "backups")
    for step in (10, 20):
        units.write(step, arrays(step), {"epoch": step, "names": ["a", None, 0.1]})
    units.wait()
    return units


def write(units, step):
    units.write(step, arrays(), {})
    units.wait()


def names(units):
    return [path.name for path in units.paths()]


def test_arrays_may_change_while_they_are_written(units):
    given = arrays(1)
    units.write(30, given, {})
    given["kernel"][:] = 2
    np.testing.assert_array_equal(units.newest().arrays["kernel"], 1)


def test_a_full_disk_shows_at_the_next_unit_and_keeps_the_one_before(
    units, monkeypatch
):
    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(training_units, "move_into_place", full)
    units.write(30, arrays(), {})
    assert names(units)[-1] == "step-000000020"
    with pytest.raises(OSError, match="disk full"):
        units.write(40, arrays(), {})


def test_a_unit_is_read_as_it_was_written(units):
    unit = units.newest()
    assert unit.path.name == "step-000000020"
    assert unit.state == {"epoch": 20, "names": ["a", None, 0.1]}
    expected = arrays(20)
    assert list(unit.arrays) == list(expected)
    for name, array in expected.items():
        assert unit.arrays[name].dtype == array.dtype
        assert unit.arrays[name].shape == array.shape
        np.testing.assert_array_equal(unit.arrays[name], array)


def test_without_units_there_is_nothing(tmp_path):
    assert TrainingUnits(tmp_path / "nowhere").newest() is None
    assert list(tmp_path.iterdir()) == []


def test_the_newest_two_are_kept(units):
    units.write(30, arrays(), {})
    assert names(units) == ["step-000000020", "step-000000030"]
    assert len(list(units.directory.iterdir())) == 2


def test_units_of_one_step_follow_each_other(units):
    units.write(20, arrays(), {"end": "of the epoch"})
    units.write(20, arrays(), {"end": "of the training"})
    assert names(units) == ["step-000000020-2", "step-000000020-3"]
    assert units.newest().state == {"end": "of the training"}


def test_any_flipped_bit_is_noticed(units, rng):
    newest = units.paths()[-1]
    for file in sorted(newest.iterdir()):
        content = file.read_bytes()
        for place in range(len(content)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(flipped)
            with pytest.warns(UserWarning, match=f"{newest}.*is not what was written"):
                assert units.newest().state["epoch"] == 10, (file, place)
        file.write_bytes(content)
    assert units.newest().state["epoch"] == 20


@pytest.mark.parametrize("file", ["variables.npz", "state.json"])
def test_a_truncated_or_missing_file_is_noticed(units, file):
    path = units.paths()[-1] / file
    content = path.read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.warns(UserWarning, match="Resuming from .*step-000000010 instead"):
            assert units.newest().state["epoch"] == 10
    path.unlink()
    with pytest.warns(UserWarning, match="cannot be read"):
        assert units.newest().state["epoch"] == 10


def test_when_all_are_damaged_nothing_starts_anew(units):
    for path in units.paths():
        (path / "variables.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="All backups.*000020.*000010.*delete"):
        units.newest()


def test_damaged_units_do_not_push_out_intact_ones(units):
    (units.paths()[-1] / "state.json").unlink()
    with pytest.warns(UserWarning, match="000020"):
        units.newest()
    units.write(20, arrays(), {"epoch": 21})
    assert names(units) == ["step-000000010", "step-000000020-2"]


def test_what_a_kill_left_behind_is_removed(units, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_units, "move_into_place", killed)
        with pytest.raises(KeyboardInterrupt):
            write(units, 30)
    assert units.newest().state["epoch"] == 20
    assert len(list(units.directory.iterdir())) == 3
    units.clean()
    assert len(list(units.directory.iterdir())) == 2


def test_half_a_removal_does_not_look_like_damage(units, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            write(units, 30)
    assert names(units) == ["step-000000020", "step-000000030"]


def test_another_format_is_named(units, monkeypatch):
    monkeypatch.setattr(training_units, "FORMAT", 3)
    with pytest.raises(ValueError, match="another version.*format 2, expected 3"):
        units.newest()


@pytest.mark.parametrize("inside", ["", "backups/student"])
def test_a_file_is_no_folder(tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="need a folder.*/file is a file"):
        TrainingUnits(tmp_path / "file" / inside).newest()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_backup_of_keras_is_refused(tmp_path):
    (tmp_path / "training_metadata.json").write_text(json.dumps({"epoch": 3}))
    with pytest.raises(ValueError, match="Keras's BackupAndRestore.*another folder"):
        TrainingUnits(tmp_path).newest()
