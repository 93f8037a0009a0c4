"""The results of a verification, and the thresholds that it judges by."""

import dataclasses
import numbers


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Everything that decides whether an artifact is accepted.

    Attributes:
        tolerance: float. Largest absolute difference of a float32 output.
        quantized_tolerance: float. By how much a metric of a quantized artifact may be
            lower than the student's: half a point of a metric between 0 and 1.
        float16_tolerance: float, of the largest output: float16 has 11 bits, and layers
            add up.
        metric_tolerance: float. How far metrics of float32 may be from the student's: a
            tenth of a point.
        disagreement_of_pixels: float. The share of many predictions in each example
            that may be others: some are ties, and rounding within the tolerance
            decides them.
        agreement_without_targets: float. The share of predictions of quantized
            artifacts that must be the student's where no metric tells.
        steps_from_simulation: float. How far int8 outputs of learned ranges may be from
            those that were simulated in training, on average, in steps of int8.
        agreement_with_simulation: float. The share of their classes that must be those.
        share_of_kernel_bytes: float. The size of a file, of its kernels: nothing that
            formats do saves a fifth of them.

    Example:

    ```python
    Thresholds(tolerance=1e-3).quantized_tolerance  # 0.005
    ```
    """

    tolerance: float = 1e-4
    quantized_tolerance: float = 0.005
    float16_tolerance: float = 0.01
    metric_tolerance: float = 0.001
    disagreement_of_pixels: float = 0.001
    agreement_without_targets: float = 0.9
    steps_from_simulation: float = 1.0
    agreement_with_simulation: float = 0.998
    share_of_kernel_bytes: float = 0.8

    @classmethod
    def of(cls, tolerance, quantized_tolerance):
        """Takes those that the user chooses.

        Raises:
            ValueError: if one is not a number of 0 or more.
        """
        given = {"tolerance": tolerance, "quantized_tolerance": quantized_tolerance}
        for name, value in given.items():
            if not isinstance(value, numbers.Real) or not value >= 0:
                raise ValueError(
                    f"Expected a tolerance of 0 or more. Received: {name}={value!r}"
                )
        return cls(**given)


@dataclasses.dataclass(frozen=True)
class Measured:
    """How far the outputs of an artifact are from the student's; None: not measured.

    Attributes:
        max_difference: float, the largest absolute one.
        mean_difference: float.
        agreement: float from 0 to 1, of the predictions or of the detections.

    Example:

    ```python
    Measured(max_difference=1e-6)
    ```
    """

    max_difference: float | None = None
    mean_difference: float | None = None
    agreement: float | None = None


@dataclasses.dataclass(frozen=True)
class SimulationDifference:
    """How far int8 outputs are from those that were simulated in training.

    Attributes:
        mean_steps: float, in differences of neighboring int8 values.
        max_steps: float.
        agreement: float from 0 to 1, of the predictions; None: there are none.

    Example:

    ```python
    SimulationDifference(0.01, 1.0, 1.0)
    ```
    """

    mean_steps: float
    max_steps: float
    agreement: float | None


@dataclasses.dataclass
class ArtifactResult:
    """The findings about one artifact.

    Attributes:
        file: str, its name.
        size: int, in bytes.
        sha256: str.
        precision: str; see `Format`.
        reasons: list of str. Empty if nothing is wrong.
        warnings: list of str.
        measured: `Measured`.
        metrics: dict of float by name; None: not measured.
        simulation: `SimulationDifference`, or None without learned ranges.
        latency_ms: float, the median of one call, or None.
        batch_size: int of such a call; None for any, or if it does not load.
        num_threads: int or None.

    Example:

    ```python
    ArtifactResult("student.onnx", 3, "", "float32", ["missing"]).ok  # False
    ```
    """

    file: str
    size: int
    sha256: str
    precision: str
    reasons: list = dataclasses.field(default_factory=list)
    warnings: list = dataclasses.field(default_factory=list)
    measured: Measured = Measured()
    metrics: dict = dataclasses.field(default_factory=dict)
    simulation: SimulationDifference | None = None
    latency_ms: float | None = None
    batch_size: int | None = None
    num_threads: int | None = None

    @property
    def ok(self):
        """Whether nothing is wrong."""
        return not self.reasons

    def to_json(self):
        """Returns the dict for the report, with each metric under its own name."""
        return {
            "file": self.file,
            "size": self.size,
            "sha256": self.sha256,
            "precision": self.precision,
            "ok": self.ok,
            "reasons": self.reasons,
            "warnings": self.warnings,
            **dataclasses.asdict(self.measured),
            **self.metrics,
            **self._simulation(),
            "latency_ms": self.latency_ms,
            "batch_size": self.batch_size,
            "num_threads": self.num_threads,
        }

    def summary(self):
        """Returns the dict for the manifest, without timings of this machine."""
        measured = dataclasses.asdict(self.measured) | self.metrics
        return {**measured, **self._simulation(), "warnings": self.warnings}

    def _simulation(self):
        found = self.simulation
        return {} if found is None else {"simulation": dataclasses.asdict(found)}


@dataclasses.dataclass
class Report:
    """The findings about an export.

    Attributes:
        thresholds: `Thresholds`.
        batch_size: int of the export, or None for any.
        num_samples: int.
        samples: str, where the samples are from.
        metrics: dict of float by name, of the Keras student.
        parameters: int, of the Keras student.
        latency_ms: float, of the Keras student.
        num_threads: int, in which it was measured.
        artifacts: dict of `ArtifactResult` by format.
        warnings: list of str, about the export as a whole.
        others: dict of lists of reasons by file: failures of files that are not
            artifacts.
        output_dir: str, the folder, once it has its name.

    Example:

    ```python
    check_artifacts(folder, manifest, reference, Thresholds()).failures  # {}
    ```
    """

    thresholds: Thresholds
    batch_size: int | None
    num_samples: int
    samples: str
    metrics: dict
    parameters: int
    latency_ms: float
    num_threads: int
    artifacts: dict = dataclasses.field(default_factory=dict)
    warnings: list = dataclasses.field(default_factory=list)
    others: dict = dataclasses.field(default_factory=dict)
    output_dir: str | None = None

    @property
    def failures(self):
        """The reasons of all that failed, lists by file."""
        failed = [result for result in self.artifacts.values() if not result.ok]
        return {**{each.file: each.reasons for each in failed}, **self.others}

    @property
    def passed(self):
        """The names of the formats that did not fail."""
        return [name for name, result in self.artifacts.items() if result.ok]

    def to_json(self):
        """Returns the dict that `verify` gives, and the bulk of `report.json`."""
        return {
            "output_dir": self.output_dir,
            "tolerance": self.thresholds.tolerance,
            "quantized_tolerance": self.thresholds.quantized_tolerance,
            "batch_size": self.batch_size,
            "num_samples": self.num_samples,
            "samples": self.samples,
            "metrics": list(self.metrics),
            "keras": {
                "parameters": self.parameters,
                **self.metrics,
                "latency_ms": self.latency_ms,
                "num_threads": self.num_threads,
            },
            "artifacts": {name: r.to_json() for name, r in self.artifacts.items()},
            "warnings": self.warnings,
            "failures": self.failures,
        }

    def summary(self):
        """Returns the dict for the manifest, without timings."""
        return {
            "samples": self.samples,
            "num_samples": self.num_samples,
            "tolerance": self.thresholds.tolerance,
            "quantized_tolerance": self.thresholds.quantized_tolerance,
            "metrics": list(self.metrics),
            **{f"keras_{name}": value for name, value in self.metrics.items()},
        }
