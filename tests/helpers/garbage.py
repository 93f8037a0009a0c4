"""Python's garbage collector, in processes that trace many models."""

import gc


def collect_less():
    """Looks for garbage less often, and never among what is imported.

    Tracing makes millions of objects that are kept: looking through them again and
    again takes a fifth of the tests' time. `gc.collect()` still frees all garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
