"""Holds back text that native code writes straight to file descriptor 2.

This file imports nothing outside the standard library: commands load it before they
import TensorFlow.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading

# The starts of lines that TensorFlow, its converters and Python log while all is well.
CHATTER = r"[IW]\d{4} |WARNING|INFO|\d{4}-\d\d-\d\d"
# A process of its own outlives a holder that aborts: its input ends without a byte.
_WITNESS = """
import os, re, sys
path, chatter = sys.argv[1:]
if not os.read(0, 1):
    with open(path, "rb") as file:
        for line in file:
            if not re.match(chatter.encode(), line):
                os.write(2, line)
    os.remove(path)
"""


@contextlib.contextmanager
def hold_stderr():
    """Keeps everything that is written to file descriptor 2, and shows none of it.

    Holders in several threads, or one inside another, share the descriptor: it comes
    back when the last of them leaves. If the process dies while it holds, a small
    second process shows the text that is not chatter, so that the words of a native
    abort are not lost.

    Yields:
        A function that returns the text since this holder came. With several threads
        it includes text of the others.

    Example:

    ```python
    with hold_stderr() as held:
        os.write(2, b"a line")
    held()  # "a line"
    ```
    """
    hold = _Hold.enter()
    start = hold.size()
    ended = None

    def held():
        return hold.read(start) if ended is None else ended

    try:
        yield held
    finally:
        ended = hold.read(start)
        hold.leave()


def without_chatter(text):
    """Returns the lines that say more than that all is well.

    Args:
        text: str, from `hold_stderr` or from another process.

    Example:

    ```python
    without_chatter("I0000 00:00 a.cc:1] starts\\nerror: 5")  # ["error: 5"]
    ```
    """
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not re.match(CHATTER, line)]


class _Hold:
    """File descriptor 2, led into a temporary file."""

    lock = threading.Lock()
    current = None

    @classmethod
    def enter(cls):
        with cls.lock:
            if cls.current is None:
                cls.current = cls()
            cls.current.holders += 1
            return cls.current

    def __init__(self):
        self.holders = 0
        self.file, self.path = tempfile.mkstemp()
        _flush()
        self.witness = subprocess.Popen(
            [sys.executable, "-ISc", _WITNESS, self.path, CHATTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Ctrl-C is for the holder.
            start_new_session=True,
        )
        self.original = os.dup(2)
        os.dup2(self.file, 2)

    def leave(self):
        with self.lock:
            self.holders -= 1
            if self.holders:
                return
            type(self).current = None
            _flush()
            os.dup2(self.original, 2)
            os.close(self.original)
            os.close(self.file)
            os.remove(self.path)
            self.witness.communicate(b"done")

    def size(self):
        _flush()
        return os.fstat(self.file).st_size

    def read(self, start):
        _flush()
        # Opened again: writers have a position of their own.
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")


def _flush():
    if sys.stderr is not None:
        sys.stderr.flush()
