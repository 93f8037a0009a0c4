"""Drops the prints of other packages."""

import contextlib
import io
import threading

_LOCK = threading.RLock()


@contextlib.contextmanager
def silent_prints():
    """Drops everything that Python code prints, in one thread at a time.

    `sys.stdout` and `sys.stderr` belong to the process. Two threads that replace them
    at the same time can leave a replacement behind.

    Example:

    ```python
    with silent_prints():
        evaluation.accumulate()
    ```
    """
    nowhere = io.StringIO()
    with (
        _LOCK,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
