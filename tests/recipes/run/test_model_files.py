import sys

import keras
import numpy as np
import pytest

from keras_diffkd.models import UnsafeModelError
from keras_diffkd.recipes import flags
from keras_diffkd.recipes.run import experiment, model_files
from keras_diffkd.recipes.run.checksums import check_checksum
from keras_diffkd.recipes.run.model_files import load_checked_model, save_model

MODULE = """
import keras

@keras.saving.register_keras_serializable(package="mine")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def small(layer):
    return keras.Sequential([keras.Input((4,)), layer])


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "student.keras"
    save_model(small(keras.layers.Dense(2)), path)
    return path


def test_model_and_its_options(saved, parse):
    assert load_checked_model(str(saved), num_classes=2).output_shape == (None, 2)
    with pytest.raises(ValueError, match="another number of classes"):
        load_checked_model(str(saved), num_classes=3)
    assert load_checked_model("digits_student", input_shape=(8, 8, 1), num_classes=3)


def test_every_changed_bit_is_found_before_the_file_is_opened(saved, parse):
    """Where the checksums of the archive do not look, too."""
    content = saved.read_bytes()
    rng = np.random.default_rng(0)
    # The last bytes are the table of contents, the first ones a local header.
    places = [*rng.integers(0, len(content), 60), *range(0, 60, 3)]
    places += [len(content) - n for n in range(1, 120, 3)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(changed)
        with pytest.raises(UnsafeModelError, match="is corrupt or was changed"):
            load_checked_model(str(saved))
    for length in rng.integers(0, len(content), 20):
        saved.write_bytes(content[:length])
        with pytest.raises(UnsafeModelError, match="is corrupt or was changed"):
            load_checked_model(str(saved))
    saved.write_bytes(content)
    load_checked_model(str(saved))


def test_class_that_the_user_adds(tmp_path, parse, monkeypatch):
    (tmp_path / "my_layers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "student.keras"
    registered = keras.saving.get_custom_objects()
    import my_layers

    small(my_layers.Doubled()).save(path)
    # As in the process of a command, which has not imported it.
    del sys.modules["my_layers"], my_layers
    registered.pop("mine>Doubled")
    try:
        with pytest.raises(UnsafeModelError, match="'mine>Doubled'"):
            load_checked_model(str(path))
        parse("--allow_classes=mine>Doubled")
        with pytest.raises(UnsafeModelError, match="Import the module"):
            load_checked_model(str(path))
        parse("--allow_classes=other>Other,my_layers:mine>Doubled")
        assert load_checked_model(str(path)).layers[-1](np.ones((1, 1))) == 2
        parse("--allow_classes=no_such_module:mine>Doubled")
        with pytest.raises(ImportError, match="no_such_module"):
            load_checked_model(str(path))
    finally:
        registered.pop("mine>Doubled", None)


def test_other_formats(tmp_path, parse):
    path = str(tmp_path / "old.h5")
    small(keras.layers.Dense(2)).save(path)
    with pytest.raises(UnsafeModelError, match="--allow_unsafe_formats"):
        load_checked_model(path)
    parse("--allow_unsafe_formats")
    with pytest.warns(UserWarning, match="without any checks"):
        load_checked_model(path)


def test_a_run_cannot_say_what_is_trusted(parse):
    parse("--allow_classes=os:a>b", "--allow_unsafe_formats")
    settings = experiment.recorded()
    assert not any("allow" in name for name in settings)
    parse()
    for name, text in (("allow_classes", "os:a>b"), ("allow_unsafe_formats", "true")):
        with pytest.raises(ValueError, match=f"sets --{name}, which no run may do"):
            experiment.adopt({**settings, name: text})
    assert flags.ALLOW_CLASSES.value == []


def test_save_model_keeps_the_old_file_when_saving_fails(tmp_path, monkeypatch):
    path = tmp_path / "student.keras"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_model(model, path)
    before = path.read_bytes()
    names = ["student.keras", "student.keras.sha256"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    check_checksum(path)

    def cut_off(target):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(model, "save", cut_off)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    check_checksum(path)


def test_a_new_model_is_never_beside_an_old_checksum(tmp_path, monkeypatch):
    path = tmp_path / "student.keras"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_model(model, path)

    def killed(*arguments):
        raise RuntimeError

    monkeypatch.setattr(model_files, "write_checksum", killed)
    with pytest.raises(RuntimeError):
        save_model(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["student.keras"]
    check_checksum(path)
