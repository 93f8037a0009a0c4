"""What the benchmarks share: tables, the machine, and docs/results.md."""

import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
from pathlib import Path

from finished_runs import read_lines


def markdown_table(header, rows):
    """Returns a Markdown table with aligned columns."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row):
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def describe_machine():
    """Returns the processor and the versions that produced a number."""
    packages = {
        "Keras": "keras",
        "TensorFlow": "tensorflow",
        "JAX": "jax",
        "NumPy": "numpy",
    }
    versions = [
        f"{title} {importlib.metadata.version(name)}"
        for title, name in packages.items()
        if importlib.util.find_spec(name)
    ]
    return (
        f"{os.cpu_count()} cores of {processor_name()}, Python "
        f"{platform.python_version()}, {', '.join(versions)}"
    )


@functools.cache
def revision():
    """Returns the commit of the sources, or `None` outside a repository."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


def machines_of(records):
    """Returns the machines that produced the records of a table."""
    return " and ".join(sorted({record["machine"] for record in records}))


def processor_name():
    """Returns the processor's model name where the system tells."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        match = re.search(r"model name\s*:\s*(.+)", path.read_text())
        if match:
            return match.group(1)
    return platform.machine()


def write_section(path, title, text):
    """Replaces (or appends) the section `## title` of a Markdown file."""
    path = Path(path)
    content = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    section = f"## {title}\n\n{text.strip()}\n"
    pattern = re.compile(rf"## {re.escape(title)}\n.*?(?=\n## |\Z)", re.DOTALL)
    if pattern.search(content):
        content = pattern.sub(lambda _: section, content)
    else:
        content = f"{content.rstrip()}\n\n{section}"
    path.write_text(content, encoding="utf-8")


def write_report(runs, report, page, title):
    """Prints what a benchmark reports, and writes it as a section of a page.

    Args:
        runs: Path of the JSON lines of finished models.
        report: Function from the list of their records to Markdown.
        page: Path of a Markdown file.
        title: Title of the section.
    """
    records = read_lines(Path(runs))
    if not records:
        raise SystemExit(f"No model in {runs} yet.")
    text = report(records)
    print(text)
    write_section(page, title, text)
