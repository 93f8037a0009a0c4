import importlib.metadata
import json
import sys

import diffkd_commands as commands
import pytest

from keras_diffkd.recipes import distill


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Starts diffkd-distill up to its first line of its own."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    ran = []
    monkeypatch.setattr(distill, "run", lambda: ran.append(True))

    def start(*arguments):
        ran.clear()
        monkeypatch.setattr(sys, "argv", ["diffkd-distill", *arguments])
        commands.distill()
        return ran

    return start


@pytest.mark.parametrize("where", ["environment", "file"])
def test_another_backend_ends_a_command_at_once(start, monkeypatch, tmp_path, where):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    expected = rf"the backend 'jax' in {tmp_path}"
    if where == "environment":
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        expected = "KERAS_BACKEND=torch"
    with pytest.raises(SystemExit, match=expected) as stopped:
        start()
    assert stopped.value.code.startswith("diffkd-distill: error: ")
    # As the message says.
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert start()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"backend": "tensorflow"}', None])
def test_other_settings_of_keras_do_not_matter(start, tmp_path, text):
    if text is not None:
        (tmp_path / "keras.json").write_text(text)
    assert start()


def test_models(start, capsys):
    assert start("--list_models") == []
    assert "\nwrn_16_2 " in capsys.readouterr().out


def test_version(start, capsys):
    assert start("--run_dir=r", "--version") == []
    version = importlib.metadata.version("keras-diffkd")
    assert capsys.readouterr().out == f"diffkd-distill {version}\n"
