import json
import shutil

import ml_dtypes
import numpy as np
import pytest

from keras_diffkd.resuming import snapshots as module
from keras_diffkd.resuming.snapshots import Snapshots


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
def snapshots(tmp_path):
    snapshots = Snapshots(tmp_path / "backups")
    for step in (10, 20):
        snapshots.write(step, arrays(step), {"epoch": step, "names": ["a", None, 0.1]})
    snapshots.wait()
    return snapshots


def write(snapshots, step):
    snapshots.write(step, arrays(), {})
    snapshots.wait()


def names(snapshots):
    return [path.name for path in snapshots.paths()]


def test_arrays_may_change_while_they_are_written(snapshots):
    given = arrays(1)
    snapshots.write(30, given, {})
    given["kernel"][:] = 2
    np.testing.assert_array_equal(snapshots.newest().arrays["kernel"], 1)


def test_a_full_disk_shows_at_the_next_unit_and_keeps_the_one_before(
    snapshots, monkeypatch
):
    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(module, "move_into_place", full)
    snapshots.write(30, arrays(), {})
    assert names(snapshots)[-1] == "step-000000020"
    with pytest.raises(OSError, match="disk full"):
        snapshots.write(40, arrays(), {})


def test_a_snapshot_is_read_as_it_was_written(snapshots):
    snapshot = snapshots.newest()
    assert snapshot.path.name == "step-000000020"
    assert snapshot.state == {"epoch": 20, "names": ["a", None, 0.1]}
    expected = arrays(20)
    assert list(snapshot.arrays) == list(expected)
    for name, array in expected.items():
        assert snapshot.arrays[name].dtype == array.dtype
        assert snapshot.arrays[name].shape == array.shape
        np.testing.assert_array_equal(snapshot.arrays[name], array)


def test_without_units_there_is_nothing(tmp_path):
    assert Snapshots(tmp_path / "nowhere").newest() is None
    assert list(tmp_path.iterdir()) == []


def test_the_newest_two_are_kept(snapshots):
    snapshots.write(30, arrays(), {})
    assert names(snapshots) == ["step-000000020", "step-000000030"]
    assert len(list(snapshots.directory.iterdir())) == 2


def test_snapshots_of_one_step_follow_each_other(snapshots):
    snapshots.write(20, arrays(), {"end": "of the epoch"})
    snapshots.write(20, arrays(), {"end": "of the training"})
    assert names(snapshots) == ["step-000000020-2", "step-000000020-3"]
    assert snapshots.newest().state == {"end": "of the training"}


def test_any_flipped_bit_is_noticed(snapshots, rng):
    newest = snapshots.paths()[-1]
    for file in sorted(newest.iterdir()):
        content = file.read_bytes()
        for place in range(len(content)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(flipped)
            with pytest.warns(
                UserWarning, match=f"{newest}.*does not match its checksum"
            ):
                assert snapshots.newest().state["epoch"] == 10, (file, place)
        file.write_bytes(content)
    assert snapshots.newest().state["epoch"] == 20


@pytest.mark.parametrize("file", ["variables.npz", "state.json"])
def test_a_truncated_or_missing_file_is_noticed(snapshots, file):
    path = snapshots.paths()[-1] / file
    content = path.read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.warns(UserWarning, match="Resuming from .*step-000000010 instead"):
            assert snapshots.newest().state["epoch"] == 10
    path.unlink()
    with pytest.warns(UserWarning, match="cannot be read"):
        assert snapshots.newest().state["epoch"] == 10


def test_when_all_are_damaged_nothing_starts_anew(snapshots):
    for path in snapshots.paths():
        (path / "variables.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="All snapshots.*000020.*000010.*delete"):
        snapshots.newest()


def test_damaged_units_do_not_push_out_intact_ones(snapshots):
    (snapshots.paths()[-1] / "state.json").unlink()
    with pytest.warns(UserWarning, match="000020"):
        snapshots.newest()
    snapshots.write(20, arrays(), {"epoch": 21})
    assert names(snapshots) == ["step-000000010", "step-000000020-2"]


def test_what_a_kill_left_behind_is_removed(snapshots, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "move_into_place", killed)
        with pytest.raises(KeyboardInterrupt):
            write(snapshots, 30)
    assert snapshots.newest().state["epoch"] == 20
    assert len(list(snapshots.directory.iterdir())) == 3
    snapshots.clean()
    assert len(list(snapshots.directory.iterdir())) == 2


def test_half_a_removal_does_not_look_like_damage(snapshots, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            write(snapshots, 30)
    assert names(snapshots) == ["step-000000020", "step-000000030"]


def test_another_format_is_named(snapshots, monkeypatch):
    monkeypatch.setattr(module, "FORMAT", 3)
    with pytest.raises(ValueError, match="another version.*format 2, expected 3"):
        snapshots.newest()


@pytest.mark.parametrize("inside", ["", "backups/student"])
def test_a_file_is_no_folder(tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="need their own folder.*/file is a file"):
        Snapshots(tmp_path / "file" / inside).newest()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_backup_of_keras_is_refused(tmp_path):
    (tmp_path / "training_metadata.json").write_text(json.dumps({"epoch": 3}))
    with pytest.raises(ValueError, match="Keras's BackupAndRestore.*another folder"):
        Snapshots(tmp_path).newest()
