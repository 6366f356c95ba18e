"""The conformance statement says what the code does."""

from __future__ import annotations

from tests.conformance import PAGE, RESULT_CLASSES, with_tables


def test_the_tables_are_those_of_the_code() -> None:
    """``python -m tests.conformance`` brings them up to date."""
    page = PAGE.read_text()
    assert with_tables(page) == page


def test_every_class_of_result_is_told_with_its_content() -> None:
    contents = PAGE.read_text().split("## 8.1")[1].split("## 8.2")[0]
    for kind in RESULT_CLASSES:
        assert f"`{kind}`" in contents
