"""The documentation as a site: what `make docs` would fail on, without building it."""

import ast
import importlib
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(p.relative_to(DOCS)): p.read_text("utf-8") for p in DOCS.rglob("*.md")}
CONFIG = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
PUBLIC = (
    *("keras_diffkd", "keras_diffkd.callbacks", "keras_diffkd.datasets"),
    *("keras_diffkd.diffusion", "keras_diffkd.export", "keras_diffkd.layers"),
    *("keras_diffkd.losses", "keras_diffkd.metrics", "keras_diffkd.models"),
    *("keras_diffkd.preflight", "keras_diffkd.teacher_cache", "keras_diffkd.training"),
)
RELATIVE_LINK = re.compile(r"\]\((?!https?://)[\w./]+\.md")


def pages_of(nav):
    for entry in nav:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else pages_of(target)


def without_code(text):
    return re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


def anchors(text):
    """The ids that Python-Markdown gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


def test_every_page_is_in_the_navigation_once():
    assert sorted(pages_of(CONFIG["nav"])) == sorted(PAGES)


def test_the_site_needs_no_network():
    assert CONFIG["theme"]["font"] is False
    for path in (*CONFIG.get("extra_css", ()), *CONFIG.get("extra_javascript", ())):
        assert (DOCS / path).exists(), path


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_resolve(name):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[name])):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (DOCS / name).parent / path if path else DOCS / name
        assert target.resolve().is_relative_to(DOCS), (name, link)
        assert target.exists(), (name, link)
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), (name, link)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("name", PAGES)
def test_python_parses_and_imports_exist(name):
    """Of every page; tests/test_docs.py runs those that are whole programs."""
    for block in re.findall(r"```python\n(.*?)```", PAGES[name], re.DOTALL):
        for node in ast.walk(ast.parse(textwrap.dedent(block))):
            if isinstance(node, ast.ImportFrom) and "keras_diffkd" in node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), name


def test_included_files_exist():
    for name, text in PAGES.items():
        for path in re.findall(r'^--8<-- "(.+)"$', text, re.M):
            assert (ROOT / path).exists(), name
            relative = re.findall(
                r"\]\((?!https?://)", (ROOT / path).read_text("utf-8")
            )
            assert not relative, f"{path} is a page of the site, whose links differ"


def test_docstrings_have_no_links_to_files():
    """They would lead nowhere in the reference."""
    for folder in ("keras_diffkd", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(
                r"\]\((?!https?://)[\w./]+\.md", path.read_text("utf-8")
            )


@pytest.mark.backend("tensorflow")
def test_the_reference_has_every_public_name():
    shown = {
        path: page
        for page, text in PAGES.items()
        for path in re.findall(r"^::: (\S+)$", text, re.M)
    }
    for path in shown:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__doc__, path
    for module in map(importlib.import_module, PUBLIC):
        for name in set(module.__all__):
            value = getattr(module, name)
            if isinstance(value, type) or hasattr(value, "__code__"):
                assert f"{module.__name__}.{name}" in shown, f"{module.__name__}.{name}"
