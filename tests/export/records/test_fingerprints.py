import json

from keras_diffkd.export.records.fingerprints import find_break, seal, write_sealed


def test_content_as_it_was_written(tmp_path):
    content = {"b": (1, 2), "a": {"c": 0.1, "d": None}, "ä": "ß"}
    path = tmp_path / "file.json"
    written = write_sealed(path, content)
    read = json.loads(path.read_text(encoding="utf-8"))
    assert read == written
    assert read["b"] == [1, 2]
    assert find_break(read) is None
    # However it is laid out, and in whatever order.
    assert find_break(json.loads(json.dumps(read, sort_keys=True, indent=7))) is None
    assert seal(read) == read


def test_content_that_was_changed():
    sealed = seal({"a": 1, "b": {"c": [1, 2]}})
    for changed in (
        {**sealed, "a": 2},
        {**sealed, "b": {"c": [2, 1]}},
        {**sealed, "d": 1},
        {**sealed, "sha256": sealed["sha256"][::-1]},
        {key: sealed[key] for key in ("a", "sha256")},
    ):
        assert "do not belong together" in find_break(changed)
    assert "has no 'sha256'" in find_break({"a": 1, "b": {"c": [1, 2]}})
