"""The base class of formats: it writes a student, and opens the file again."""

import abc
import importlib.util

from ..serving.tensors import describe

# Of quantized weights.
PER_CHANNEL = "int8, one scale per channel"
# The parts of the manifest that every file holds, and its own `precision`.
METADATA_KEYS = (
    "student",
    "input",
    "labels",
    "predictions",
    "normalization",
    "detection",
    "source",
    "versions",
)


class Format(abc.ABC):
    """A format in one precision.

    A new format is a subclass in a file of its own, and a line in
    `formats/__init__.py`.

    Args:
        precision: a key of `names`.

    Attributes:
        names: dict of the class: the precisions that it writes, and what each is called
            among the `formats` of `export_student`. Precisions are "float32", "float16"
            (weights only), "dynamic_int8" (weights only) and "int8" (weights and
            activations).
        extension: str of the class: the end of the file's name.
        writes_with: tuple of the class: packages that `write` imports.
        runs_with: tuple of the class: packages that `open` imports.
        extra: str of the class: the extra of keras-diffkd that installs them.
        quantization: dict of the class: by precision, what the manifest says of
            `weights` and `activations`.
        needs_sizes: bool of the class. Whether every axis but the batch must have a
            known size.
        precision: str.

    Example:

    ```python
    TFLite("int8").file  # "student_int8.tflite"
    ```
    """

    names = {}
    extension = ""
    writes_with = ()
    runs_with = ()
    extra = "export"
    quantization = {}
    needs_sizes = False

    def __init__(self, precision="float32"):
        self.precision = precision

    @property
    def name(self):
        """The name in the `formats` of `export_student`."""
        return self.names[self.precision]

    @property
    def file(self):
        """The name of the file or folder in an export."""
        flavor = self.name.removeprefix(self.names["float32"])
        return f"student{flavor}{self.extension}"

    @property
    def needs_calibration(self):
        """Whether `write` learns the ranges of activations from samples."""
        return self.precision == "int8"

    @property
    def packages(self):
        """The packages that write and run this format."""
        return (*self.writes_with, *self.runs_with)

    def require_packages(self, *, writing):
        """Raises `ImportError` if a package is not installed, with the way to get it.

        Args:
            writing: bool. Whether the format is to be written, or only run.
        """
        needed = self.packages if writing else self.runs_with
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise ImportError(
                f"The format '{self.name}' needs {', '.join(missing)}, which cannot be "
                f"imported. Install the extra '{self.extra}': in a clone of "
                f"keras-diffkd, run `pip install '.[{self.extra}]'`"
            )

    def find_obstacles(self, serving):
        """Returns the reasons why this format cannot compute a student, a list."""
        del serving
        return []

    @abc.abstractmethod
    def write(self, serving, path, *, opset=17, calibration=None):
        """Writes the file or folder.

        Args:
            serving: `Serving`.
            path: file or folder to write.
            opset: int. ONNX operator set, of formats that have one.
            calibration: `Samples`, where `needs_calibration`.

        Raises:
            ExportError: if the converter cannot. It may raise anything else, too.
        """

    def describe(self, serving, path):
        """Returns inputs and outputs of the file, two lists of `TensorInfo`."""
        del path
        size = serving.batch_size
        return describe(serving.inputs, size), describe(serving.outputs, size)

    @abc.abstractmethod
    def open(self, path):
        """Returns a `Runner` of the file."""

    @abc.abstractmethod
    def inspect(self, path):
        """Looks into a file without running it; returns a list of what is wrong."""

    @abc.abstractmethod
    def embed_metadata(self, path, metadata):
        """Writes a dict of JSON values into the file, which computes the same."""

    @abc.abstractmethod
    def read_metadata(self, path):
        """Returns the dict of JSON values in the file, which may be empty."""


class Runner(abc.ABC):
    """A file that is open in the runtime that it is meant for, on the CPU.

    Attributes:
        inputs: list of `TensorInfo`.
        outputs: likewise.
        num_threads: int, in which an operation is computed.

    Example:

    ```python
    runner = FORMATS["onnx"].open("export/student.onnx")
    runner.run({"image": images})["logits"]
    ```
    """

    num_threads = 1

    @property
    def batch_size(self):
        """The number of examples that `run` takes; None for any."""
        size = self.inputs[0].shape[0]
        return size if size and size > 0 else None

    @abc.abstractmethod
    def run(self, arrays):
        """Returns the outputs for inputs: both are dicts of arrays by name."""

    def find_warnings(self):
        """Returns the reasons why the file is slow, a list; call it after `run`."""
        return []


def training_reasons(operations):
    """Says that a graph is in training mode if it has operations of training.

    Args:
        operations: sorted list of str.

    Returns:
        list of one string, or of none.

    Example:

    ```python
    training_reasons([])  # []
    ```
    """
    if not operations:
        return []
    return [f"is in training mode: its graph has {', '.join(operations)}"]
