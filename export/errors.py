"""Errors of an export and of its verification."""


class ExportError(RuntimeError):
    """A student could not be written in one of the formats.

    The message names the format, the converter's own complaint and what to do.

    Example:

    ```python
    try:
        export_student(student, "runs/digits/export")
    except ExportError as error:
        print(error)
    ```
    """


class VerificationError(ExportError):
    """At least one artefact is damaged or does not compute what the student does.

    Args:
        report: dict. The whole report of `keras_diffkd.export.verify`, kept as
            the attribute `report`; its `"failures"` map each failed file to
            the list of reasons, which are also the message.
        advice: str, the end of the message.

    Example:

    ```python
    error = VerificationError(
        {"output_dir": "export", "failures": {"student.onnx": ["missing"]}}
    )
    print(error)  # Verification of export failed. student.onnx: missing
    ```
    """

    def __init__(self, report, advice=""):
        self.report = report
        failures = "; ".join(
            f"{file}: {', '.join(reasons)}"
            for file, reasons in report["failures"].items()
        )
        super().__init__(
            f"Verification of {report['output_dir']} failed. {failures}{advice}"
        )


class ManifestError(ValueError):
    """`manifest.json` is missing, or is not what `export_student` wrote.

    Example:

    ```python
    try:
        read_manifest("somewhere")
    except ManifestError as error:
        print(error)  # missing
    ```
    """
