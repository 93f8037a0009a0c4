"""Two threads that enter and leave a context in a given order."""

import contextlib
import threading


class OtherThread:
    """Enters a context in a thread of its own, and runs functions there.

    Args:
        context: Context manager.
    """

    def __init__(self, context):
        self._context = context
        self._work = None
        self._results = []
        self._wake, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._done.acquire()
        return self

    def run(self, function):
        """Returns the result of a function that runs in the thread's context."""
        self._work = function
        self._wake.release()
        self._done.acquire()
        return self._results.pop()

    def leave(self):
        """Lets the thread leave its context and end."""
        self._work = None
        self._wake.release()
        self._thread.join()

    def __exit__(self, *error):
        if self._thread.is_alive():
            self.leave()

    def _run(self):
        with self._context:
            self._done.release()
            while self._wake.acquire() and self._work is not None:
                with contextlib.suppress(Exception):
                    self._results.append(self._work())
                self._done.release()
