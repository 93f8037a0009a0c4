import pytest
import tensorflow as tf

from keras_diffkd.recipes import distill, export, flags, verify
from keras_diffkd.recipes.command_line import (
    EXPERIMENTS,
    one_line,
    parse_flags,
    resolve_flagfiles,
)
from keras_diffkd.recipes.run import experiment


def outcome(capsys, *arguments):
    """Exit status, standard output and error of a command that ends while parsing."""
    with pytest.raises(SystemExit) as stopped:
        parse_flags("diffkd-distill", distill.main, ["diffkd-distill", *arguments])
    return stopped.value.code, *capsys.readouterr()


@pytest.mark.parametrize("help_flag", ["--help", "-h", "--helpfull"])
def test_help_shows_every_flag_and_succeeds(parse, capsys, help_flag):
    code, out, err = outcome(capsys, "--epochs=3", help_flag)
    assert (code, err) == (0, "")
    assert "Distills a teacher into a student" in out
    for name in [*experiment.recorded(), "data_dir", "dataset", "teacher", "baseline"]:
        assert f"--{name}:" in out or f"--[no]{name}:" in out
    # With the defaults.
    assert "on all devices.\n    (default: '64')" in out


@pytest.mark.parametrize("command", [export, verify])
def test_help_shows_flags_that_two_commands_have(parse, capsys, command):
    with pytest.raises(SystemExit):
        parse_flags("diffkd-x", command.main, ["diffkd-x", "--help"])
    assert "--quantized_tolerance:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "rate"),
    [
        ([], 0.05),
        (["--optimizer=adamw"], 0.001),
        (["--optimizer=adamw", "--learning_rate=0.05"], 0.05),
        (["--flagfile=digit_scenes_deeplabv3.flags"], 0.001),
        (["--flagfile=digit_scenes_deeplabv3.flags", "--optimizer=sgd"], 0.001),
    ],
)
def test_the_default_rate_fits_the_optimizer(parse, arguments, rate):
    parse_flags("diffkd-distill", distill.main, ["diffkd-distill", *arguments])
    assert flags.LEARNING_RATE.value == rate
    assert experiment.recorded()["learning_rate"] == str(rate)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--epoch=3", "Unknown command line flag 'epoch'. Did you mean: epochs ?"),
        ("--epochs=0", "flag --epochs=0: 0 is not a positive integer"),
        ("--epochs=-5", "flag --epochs=-5: -5 is not a positive integer"),
        ("--epochs=many", "flag --epochs=many: invalid literal for int()"),
        ("--batch_size=0", "flag --batch_size=0:"),
        ("--steps_per_epoch=0", "flag --steps_per_epoch=0:"),
        ("--jit_compile=yes", "should be one of <auto|true|false>"),
        ("--flagfile=nowhere.flags", "no experiment file 'nowhere.flags'"),
        ("--flagfile=", "no experiment file ''"),
        ("--flagfile", "no experiment file ''"),
        ("digits", "Received 'digits' without a flag"),
    ],
)
def test_mistakes_are_one_line(parse, capsys, argument, message):
    code, out, err = outcome(capsys, argument)
    assert code == 1
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("diffkd-distill: error: ")
    assert message in line


def test_an_unknown_experiment_lists_those_there_are(parse, capsys):
    _, _, err = outcome(capsys, "--flagfile=recipes/experiments/mnist.flags")
    for path in EXPERIMENTS.glob("*.flags"):
        assert path.name in err
    assert "digits.flags" in err


def test_flags_after_the_file_win(parse, tmp_path):
    file = tmp_path / "mine.flags"
    file.write_text("# Mine.\n--epochs=7\n--seed=3\n")
    parse_flags("c", distill.main, ["c", f"--flagfile={file}", "--epochs=9"])
    assert (flags.EPOCHS.value, flags.SEED.value) == (9, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--flagfile=digits.flags"],
        ["--flagfile=recipes/experiments/digits.flags"],
        ["--flagfile=digits"],
        ["--flagfile", "digits.flags"],
    ],
)
def test_installed_experiments_are_found_from_everywhere(
    arguments, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found = resolve_flagfiles([*arguments, "--seed=1"])
    assert found == [f"--flagfile={EXPERIMENTS / 'digits.flags'}", "--seed=1"]


def test_a_file_in_the_working_directory_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.flags").write_text("--seed=5\n")
    assert resolve_flagfiles(["--flagfile=digits.flags"]) == ["--flagfile=digits.flags"]


def test_one_line_of_an_error_inside_a_graph():
    @tf.function
    def check(x):
        tf.debugging.Assert(x < 3, ["x must be less than 3", x])

    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        check(tf.constant(5))
    line = one_line(error.value)
    assert "x must be less than 3" in line
    assert "\n" not in line
    assert "Detected at node" not in line


def test_one_line_of_other_errors():
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    error = FileNotFoundError(2, "No such file or directory", "x.keras")
    assert one_line(error) == "No such file or directory: x.keras"
