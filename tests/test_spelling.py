"""Code and pages are in American English."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "keras_diffkd",
    "export",
    "recipes",
    "examples",
    "benchmarks",
    "docs",
    "tests",
)
KINDS = {".py", ".md", ".js", ".html", ".css", ".flags"}
BRITISH = re.compile(
    r"artefact|behaviour|colour|favour|neighbour|centre|metre\b|grey|catalogue"
    r"|judgement|licence|defence|(?<!-)labelled\b|unlabelled|modell|travell|signall"
    r"|(normal|serial|random|summar|parameter|sanit|util|optim|initial|organ|regular"
    r"|quant|visual|recogn|minim|maxim|special|general|token)is(e|a|i)|analyse",
    re.IGNORECASE,
)


def pages():
    yield from ROOT.glob("*.md")
    for folder in FOLDERS:
        found = (ROOT / folder).rglob("*")
        yield from sorted(path for path in found if path.suffix in KINDS)


def sources():
    return [path for path in pages() if path != Path(__file__)]


def test_american_spelling():
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sources()
        for match in BRITISH.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert len(sources()) > 400


def test_british_words_are_found():
    for word in ("artefacts", "Normalised", "unlabelled images", "behaviour"):
        assert BRITISH.search(word)
    for word in ('aria-labelledby="what"', "promises", "noise", "analysis"):
        assert not BRITISH.search(word)
