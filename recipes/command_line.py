"""Surrounds the work of a command: flags, help, errors and exit status."""

import os
import sys
from pathlib import Path

import tensorflow as tf
from absl import app, flags, logging

from . import flags as shared_flags
from .flag_words import in_flags

EXPERIMENTS = Path(__file__).parent / "experiments"
_HELP = ("--help", "-help", "-h", "-?", "--helpshort", "--helpfull")
# Errors that a user can cause and fix. Others are bugs and keep their traceback.
_EXPECTED = (ValueError, OSError, ImportError, flags.Error, tf.errors.OpError)


def run_command(name, main, expected=()):
    """Runs `main` as the command `name` and exits with its status.

    The status is 0 only if `main` returned. An expected error prints one line,
    `NAME: error: ...`, on stderr; `--debug` shows its traceback.

    Args:
        name: the command as the user types it, such as `"diffkd-distill"`.
        main: function of the arguments that are left after the flags.
        expected: more exceptions that a user can fix.
    """
    app.run(
        guarded(name, main, expected),
        flags_parser=lambda argv: parse_flags(name, main, argv),
    )


def guarded(name, main, expected=()):
    """Returns a `main` that prints an expected error on one line and exits.

    Args:
        name, main, expected: as for `run_command`.
    """

    def run(argv):
        try:
            main(argv)
        except (*_EXPECTED, *expected) as error:
            if flags.FLAGS.debug:
                raise
            _exit_with_error(name, error)
        except KeyboardInterrupt:
            print(f"{name}: interrupted; the same command resumes", file=sys.stderr)
            sys.exit(130)

    return run


def parse_flags(name, main, argv):
    """Parses `argv` into the absl flags; prints help or one line of error and exits.

    Args:
        name: the command as the user types it.
        main: the command's main function; the help begins with the docstring of
            its module.
        argv: list of str, the program name first.

    Returns:
        list of str, the program name alone.
    """
    if any(argument in _HELP for argument in argv[1:]):
        print(_help_text(name, main.__module__))
        sys.exit(0)
    try:
        rest = flags.FLAGS([argv[0], *resolve_flagfiles(argv[1:])])
        if len(rest) > 1:
            raise ValueError(
                f"Received {rest[1]!r} without a flag. Write each flag as "
                f"--name=value; {name} --help lists them"
            )
    except (ValueError, OSError, flags.Error) as error:
        _exit_with_error(name, error)
    _set_adamw_learning_rate()
    if flags.FLAGS["verbosity"].using_default_value:
        # absl's own default lets TFDS log every file that it opens.
        flags.FLAGS.verbosity = logging.WARNING
    return rest


def _set_adamw_learning_rate():
    """Sets `--learning_rate` with AdamW, unless the user gave it."""
    rate = flags.FLAGS["learning_rate"]
    if shared_flags.OPTIMIZER.value == "adamw" and rate.using_default_value:
        flags.FLAGS.learning_rate = shared_flags.ADAMW_LEARNING_RATE


def resolve_flagfiles(arguments):
    """Finds the experiment files that `--flagfile` names.

    A name that is not a path is looked up among the experiments that are installed
    with the package, so `--flagfile=digits.flags` works everywhere.

    Args:
        arguments: list of str, the command line without the program name.

    Returns:
        The same list with the names of existing files.

    Raises:
        FileNotFoundError: if there is no such file; lists the experiments.
    """
    resolved, names = [], iter(arguments)
    for argument in names:
        option, equals, value = argument.partition("=")
        if option not in ("--flagfile", "-flagfile"):
            resolved.append(argument)
            continue
        resolved.append(f"--flagfile={_find_flagfile(value or next(names, ''))}")
    return resolved


def _find_flagfile(name):
    # Unlike Path.expanduser, this keeps the name of a user that does not exist.
    path = Path(os.path.expanduser(name))
    if path.is_file():
        return path
    installed = EXPERIMENTS / path.with_suffix(".flags").name if path.name else path
    if path.name and installed.is_file():
        return installed
    known = ", ".join(sorted(file.name for file in EXPERIMENTS.glob("*.flags")))
    raise FileNotFoundError(
        f"there is no experiment file {name!r}. Give the path of a file of flags or "
        f"one of the installed experiments: {known}"
    )


def _help_text(name, module):
    described = shared_flags.described()
    if flags.FLAGS.get_key_flags_for_module(module):
        described = f"{flags.FLAGS.module_help(module)}\n{described}"
    return (
        f"{sys.modules[module].__doc__.strip()}\n\n"
        f"Usage: {name} [--flagfile=EXPERIMENT.flags] [--flag=value ...]\n"
        f"Flags after --flagfile win over those in the file. --version prints the "
        f"version, --list_models the models of the zoo.\n\n{described}"
    )


def _exit_with_error(name, error):
    problems = getattr(error, "problems", ())
    if len(problems) > 1:
        # One problem on each line.
        lines = [f"{i}. {' '.join(text.split())}" for i, text in enumerate(problems, 1)]
        lines.insert(0, f"{len(problems)} problems, nothing was written")
        text = "\n".join(lines)
    else:
        text = one_line(error)
    print(f"{name}: error: {in_flags(text, name)}", file=sys.stderr)
    sys.exit(1)


def one_line(error):
    """Returns the message of an exception on one line, without TensorFlow's frames."""
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    if isinstance(error, tf.errors.OpError) and "assertion failed:" in message:
        message = message.split("assertion failed:", 1)[1].split("\n", 1)[0]
        message = message.strip().lstrip("[").split("]", 1)[0]
    if isinstance(error, OSError) and error.strerror and error.filename:
        message = f"{error.strerror}: {os.fspath(error.filename)}"
    return " ".join(message.split())
