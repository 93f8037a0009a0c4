import pytest

from keras_diffkd.export.folder import check_target, recover, replacing


def test_foreign_folders_are_refused_and_not_touched(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")

    with pytest.raises(ValueError, match="not an export"):
        check_target(tmp_path, None)
    with pytest.raises(ValueError, match="is a file"):
        check_target(notes, None)
    assert notes.read_text() == "mine"


def test_files_in_an_export_that_are_not_ours_are_not_deleted(export_copy):
    (export_copy / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"not part of the export: notes\.txt"):
        check_target(export_copy, {"experiment": "small"})


def test_a_report_beside_the_artefacts_may_be_replaced(export_copy, tmp_path):
    (export_copy / "report.html").write_text("old")
    check_target(export_copy, {"experiment": "small"})
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "report.html").write_text("old")
    check_target(alone, None)


@pytest.mark.parametrize("source", [None, {"experiment": "large"}])
def test_export_of_another_experiment_is_refused(source, export_copy):
    with pytest.raises(ValueError, match="another experiment.*to be 'small'"):
        check_target(export_copy, source)
    check_target(export_copy, {"experiment": "small", "run_dir": "elsewhere"})


def test_absent_and_empty_folders_are_fine(tmp_path):
    check_target(tmp_path, None)
    check_target(tmp_path / "absent", None)


def test_replacing(tmp_path):
    target = tmp_path / "parent" / "export"
    for content in ("first", "second"):
        with replacing(target) as folder:
            assert list(folder.iterdir()) == []
            (folder / "file").write_text(content)
        assert (target / "file").read_text() == content
        assert [path.name for path in target.parent.iterdir()] == ["export"]


def test_failure_keeps_the_old(tmp_path):
    target = tmp_path / "export"
    target.mkdir()
    (target / "file").write_text("old")

    def fail():
        with replacing(target) as folder:
            (folder / "file").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert (target / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.parametrize("killed", ["while writing", "between renames", "at the end"])
def test_what_a_killed_process_leaves(killed, tmp_path):
    """The states of the folder at each moment, for an old and a new export."""
    names = {
        "while writing": {"export": "old", ".export.partial": "new"},
        "between renames": {".export.previous": "old", ".export.partial": "new"},
        "at the end": {".export.previous": "old", "export": "new"},
    }[killed]
    for name, content in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content)
    target = tmp_path / "export"

    recover(target)
    expected = "new" if killed == "at the end" else "old"
    assert (target / "file").read_text() == expected

    with replacing(target) as folder:
        assert (target / "file").read_text() == expected
        (folder / "file").write_text("newest")
    assert (target / "file").read_text() == "newest"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
