"""Tables for the terminal."""


def format_table(headers, rows):
    """Lays out rows under headers; the first column left, the others right.

    Args:
        headers: list of str.
        rows: list of lists, as long as `headers`; anything that `str` takes, `None`
            is shown as `-`.

    Returns:
        str of several lines, without a newline at the end.

    Example:

    ```python
    print(format_table(["model", "accuracy"], [["student", "0.93"]]))
    ```
    """
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    table = [list(headers), *cells]
    widths = [max(len(row[column]) for row in table) for column in range(len(headers))]
    lines = [_line(row, widths) for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _line(row, widths):
    first, *others = [
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join([first, *others]).rstrip()
