"""Whatever is written behind a flag: it is taken, or one line says what is wrong."""

import contextlib
import io

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver
from helpers.strategies import FEW, written
from hypothesis import given
from hypothesis import strategies as st

from keras_diffkd.recipes import (
    cache_teacher,
    distill,
    evaluate,
    export,
    flags,
    teacher_cache,
    train_teacher,
    verify,
)
from keras_diffkd.recipes.command_line import guarded, parse_flags
from keras_diffkd.recipes.preflight import check_flags

MODULES = {
    "diffkd-cache-teacher": cache_teacher,
    "diffkd-distill": distill,
    "diffkd-train-teacher": train_teacher,
    "diffkd-evaluate": evaluate,
    "diffkd-export": export,
    "diffkd-verify": verify,
}
NEEDED = ("--run_dir=/nowhere", "--dataset=digits", "--teacher=t", "--student=s")


def names_of(command):
    own = absl_flags.FLAGS.get_key_flags_for_module(MODULES[command].__name__)
    return sorted({flag.name for flag in (*own, *flags.shared())})


def run(command, arguments, main):
    """Returns the exit status (`None`: it went through) and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    with (
        flagsaver.flagsaver(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        absl_flags.FLAGS.unparse_flags()
        try:
            guarded(command, main)(
                parse_flags(command, MODULES[command].main, [command, *arguments])
            )
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()
        finally:
            absl_flags.FLAGS.mark_as_parsed()
    return None, out.getvalue(), err.getvalue()


def _check_distillation(argv):
    teacher_cache.prepare_flags()
    check_flags(("run_dir", "dataset"), method=True)


def main_of(command):
    """Returns what the command does before it needs data and models."""
    if command in ("diffkd-distill", "diffkd-cache-teacher"):
        return _check_distillation
    if command == "diffkd-train-teacher":
        return lambda argv: check_flags(("run_dir", "dataset"), method=False)
    return MODULES[command].main


@pytest.mark.parametrize("command", MODULES)
@FEW
@given(data=st.data())
def test_flags(command, data):
    names = st.sampled_from([*names_of(command), "flagfile", "no_such_flag"])
    chosen = data.draw(st.lists(names, min_size=1, max_size=3))
    arguments = [f"--{name}={data.draw(written, label=name)}" for name in chosen]
    # What writes nothing and finds nothing, whatever comes before it.
    arguments += NEEDED if "teacher" in command or "distill" in command else NEEDED[:1]
    if "--debug=true" in arguments:
        return
    status, _, err = run(command, arguments, main_of(command))
    if status is None:
        return
    first, *others = err.splitlines()
    assert status == 1
    assert first.startswith(f"{command}: error: ")
    assert len(first) > len(f"{command}: error: ")
    if others:
        assert "problems, nothing was written" in first
        assert [line.split(".")[0] for line in others] == [
            str(number + 1) for number in range(len(others))
        ]


@FEW
@given(arguments=st.lists(written, min_size=1, max_size=3))
def test_arguments_that_are_no_flags(arguments):
    status, out, err = run("diffkd-distill", arguments, lambda argv: None)
    assert status in (None, 0, 1)
    if status == 1:
        assert err.startswith("diffkd-distill: error: ")
    if status is None:
        # Nothing but flags goes through unseen.
        assert all(not argument or argument == "--" for argument in arguments), out
