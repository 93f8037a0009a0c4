"""The table of settings on replicas; tests/training/test_replicas.py runs some."""

from pathlib import Path

from replica_setting_cases import SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_every_setting_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    names = [s.name for settings in SECTIONS.values() for s in settings]
    assert len(set(names)) == len(names) >= 20
    for name in names:
        assert f"\n| {name} | " in page
