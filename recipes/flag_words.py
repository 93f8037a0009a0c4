"""Turns the words of the library's errors into those of a command."""

import re

from absl.flags import FLAGS

# Arguments that have another name than their flag.
ALIASES = {
    "k": "representative_keys",
    "top_k": "cache_top_k",
    "max_bytes": "cache_max_bytes",
    "runtime_dir": "web_runtime",
}
# What the arguments of a Python function are called by one command alone.
OF_COMMAND = {"diffkd-export": {"batch_size": "batch"}}

_VALUE = r"""'[^']*'|"[^"]*"|\[[^\]]*\]|[^\s,;)`]*[^\s,;)`.:]"""
# `f(name=3)` is Python, `--name=3` and `path/name=3` are something else.
_GIVEN = re.compile(rf"(?<![\w.(/\"'-])`?\b([a-z]\w*)=({_VALUE})`?")
_NAMED = re.compile(r"`([a-z]\w*)`")
# As in "Pass replace=True (--replace)".
_TWICE = re.compile(r"(--\w+(?:=\S+)?) \(\1\)")


def in_flags(text, command):
    """Returns a message with flags where it names arguments of Python functions.

    Args:
        text: str, `"`epochs` must be positive. Received: epochs=0"`.
        command: str, such as `"diffkd-distill"`.

    Returns:
        str, `"--epochs must be positive. Received: --epochs=0"`.
    """

    def find(name):
        name = OF_COMMAND.get(command, {}).get(name) or ALIASES.get(name, name)
        return name if name in FLAGS else None

    def given(match):
        flag = find(match[1])
        return match[0] if flag is None else _as_flag(flag, match[2])

    def named(match):
        flag = find(match[1])
        return match[0] if flag is None else f"--{flag}"

    return _TWICE.sub(r"\1", _NAMED.sub(named, _GIVEN.sub(given, text)))


def _as_flag(flag, value):
    if value in ("True", "False"):
        return f"--{flag}" if value == "True" else f"--no{flag}"
    if value == "None":
        return f"--{flag} unset"
    if value.startswith("["):
        items = re.findall(r"""'([^']*)'|"([^"]*)"|([^\s,\[\]]+)""", value)
        value = ",".join(next(filter(None, item), "") for item in items)
    return f"--{flag}={value.strip(chr(39) + chr(34))}"
