"""Lays out tables for the terminal."""


def format_table(report):
    """Formats a report of `verify` as aligned columns.

    Args:
        report: dict, from `verify` or the attribute `report` of its error.

    Returns:
        str of several lines: the Keras student, the artifacts, warnings, and the
        reasons of those that failed.

    Example:

    ```python
    print(format_table(verify("runs/digits/export", student, samples)))
    # artifact          size  max diff  agreement  accuracy   latency   ok
    # -------------  -------  --------  ---------  --------  --------  ---
    # Keras student                                  0.9850  0.412 ms
    # student.onnx   13.1 kB   1.9e-06    100.00%    0.9850  0.021 ms  yes
    ```
    """
    metrics = report.get("metrics", [])
    header = ["artifact", "size", "max diff", "agreement", *metrics, "latency", "ok"]
    rows = []
    if "keras" in report:
        rows.append(
            [
                "Keras student",
                "",
                "",
                "",
                *_format_measured(report["keras"], metrics),
                "",
            ]
        )
    for result in report.get("artifacts", {}).values():
        rows.append(
            [
                result["file"],
                _format_size(result["size"]),
                _format(result["max_difference"], "{:.1e}"),
                _format(result["agreement"], "{:.2%}"),
                *_format_measured(result, metrics),
                "yes" if result["ok"] else "FAILED",
            ]
        )
    lines = []
    if rows:
        lines.append(align_columns(header, rows))
        lines.append(
            f"{report['num_samples']} samples ({report['samples']}); latency: median "
            f"at batch size {report['batch_size'] or 1}, one thread (TensorFlow: "
            f"{report['keras']['num_threads']})"
        )
    lines += [
        f"{result['file']}: {describe_simulation(result['simulation'])}"
        for result in report.get("artifacts", {}).values()
        if result.get("simulation")
    ]
    lines += [f"warning: {warning}" for warning in report.get("warnings", [])]
    lines += [
        f"{result['file']}: warning: {warning}"
        for result in report.get("artifacts", {}).values()
        for warning in result.get("warnings", [])
    ]
    lines += [
        f"{file}: {reason}"
        for file, reasons in report["failures"].items()
        for reason in reasons
    ]
    return "\n".join(lines)


def describe_simulation(found):
    """Says how far int8 outputs are from those that were simulated in training.

    Args:
        found: dict of `SimulationDifference`.

    Example:

    ```python
    describe_simulation({"mean_steps": 0.01, "max_steps": 1.0, "agreement": 1.0})
    # "0.010 int8 steps from the simulated student on average, 1.0 at most, same
    # prediction for 100.00%"
    ```
    """
    text = (
        f"{found['mean_steps']:.3f} int8 steps from the simulated student on average, "
        f"{found['max_steps']:.1f} at most"
    )
    if found["agreement"] is None:
        return text
    return f"{text}, same prediction for {found['agreement']:.2%}"


def align_columns(headers, rows):
    """Lays out rows under headers, the first column left and the others right.

    Args:
        headers: list of str.
        rows: list of lists, as long as `headers`, of anything that `str` takes. None
            becomes `-`.

    Returns:
        str of several lines, without a newline at the end.

    Example:

    ```python
    print(align_columns(["model", "accuracy"], [["student", "0.93"]]))
    ```
    """
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    lines = []
    for row in (headers, ["-" * width for width in widths], *cells):
        first, *others = zip(row, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(n) for cell, n in others)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _format_measured(result, metrics):
    return [
        *[_format(result[name], "{:.4f}") for name in metrics],
        _format(result["latency_ms"], "{:.3f} ms"),
    ]


def _format(value, template):
    return None if value is None else template.format(value)


def _format_size(size):
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
