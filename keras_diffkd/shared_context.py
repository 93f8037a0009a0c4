"""Shares a change to the process among the threads that need it."""

import contextlib
import threading


class SharedContext:
    """Counts the users of a context in all threads.

    The first user enters the context and the last one exits it, in whatever order
    they come and go. If each user changed and restored a global setting, overlapping
    users would leave it changed.

    Args:
        make: Callable without arguments that returns the context manager.

    Example:

    ```python
    quiet_warnings = SharedContext(warnings.catch_warnings)
    with quiet_warnings.use():
        warnings.simplefilter("ignore")
    ```
    """

    def __init__(self, make):
        self._make = make
        self._lock = threading.Lock()
        self._users = 0
        self._entered = None

    @contextlib.contextmanager
    def use(self):
        """Returns a context in which the shared context is entered."""
        with self._lock:
            if not self._users:
                self._entered = contextlib.ExitStack()
                self._entered.enter_context(self._make())
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._entered.close()
