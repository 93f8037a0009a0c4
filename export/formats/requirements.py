"""The packages of the extra `[export]` that each format needs."""

import importlib.util

from . import FORMATS

# Family of formats -> packages that write it (the first tuple) and that run it (the
# second).
PACKAGES = {
    "saved_model": ((), ()),
    "onnx": (("onnx", "tf2onnx"), ("onnxruntime",)),
    "tflite": ((), ("ai_edge_litert",)),
}


def require_packages(formats, *, writing):
    """Raises if a package that a format needs is not installed.

    Args:
        formats: iterable of names from `FORMATS`.
        writing: bool. Whether the formats are to be written, or only run.

    Raises:
        ImportError: naming the format, the packages and the command that
            installs them.

    Example:

    ```python
    require_packages(["onnx"], writing=True)
    ```
    """
    for name in formats:
        writers, runtimes = PACKAGES[FORMATS[name].family]
        needed = (*writers, *runtimes) if writing else runtimes
        missing = [
            package for package in needed if importlib.util.find_spec(package) is None
        ]
        if missing:
            raise ImportError(
                f"The format '{name}' needs {', '.join(missing)}, which cannot be "
                "imported. Install the export extra: "
                "`pip install keras-diffkd[export]`"
            )
