"""Sets flags for a part of a command."""

import contextlib

from absl.flags import FLAGS


@contextlib.contextmanager
def changed(**values):
    """Sets flags to other values until the block ends.

    Args:
        values: by the names of the flags.

    Example:

    ```python
    with changed(epochs=5):
        train(distiller, stage, data)
    ```
    """
    before = {name: FLAGS[name].value for name in values}
    try:
        for name, value in values.items():
            FLAGS[name].value = value
        yield
    finally:
        for name, value in before.items():
            FLAGS[name].value = value
