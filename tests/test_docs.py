"""What the pages say is true: their settings are accepted, their links lead somewhere."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inference.findings import (
    Axis,
    Change,
    Code,
    Finding,
    Model,
    Reading,
    Response,
    SolidPart,
    Uptake,
)
from inference.growth import look, partners
from inference.reading_json import to_json
from node.cli import app
from node.settings.file import load_settings
from node.web.presentation import STATE_MEANINGS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)")
COMMAND = re.compile(r"(?:`|^[./a-z]*bin/)overread ([a-z-]+)([^`|\n#>]*)", re.MULTILINE)
TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pages_with(pattern: re.Pattern[str]) -> list[Path]:
    return [page for page in PAGES if pattern.search(page.read_text())]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", pages_with(TOML), ids=lambda page: page.name)
def test_every_settings_example_is_accepted(page: Path, tmp_path: Path) -> None:
    for number, example in enumerate(TOML.findall(page.read_text())):
        file = tmp_path / f"{number}.toml"
        file.write_text(example)
        load_settings(file)


@pytest.mark.parametrize("page", pages_with(LINK), ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_heading_that_exist(page: Path) -> None:
    for path, fragment in LINK.findall(page.read_text()):
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name} links to {path}, which does not exist"
        if fragment:
            headings = map(anchor, HEADING.findall(target.read_text()))
            assert fragment in headings, (
                f"{page.name} links to #{fragment}, which {target.name} does not have"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_shows_a_picture_that_is_not_there(page: Path) -> None:
    for source in re.findall(r"<img[^>]+src=\"([^\"]+)\"", page.read_text()):
        assert (page.parent / source).exists(), f"{page.name} shows {source}, which does not exist"


@pytest.mark.parametrize("page", pages_with(COMMAND), ids=lambda page: page.name)
def test_every_command_that_is_named_exists_with_its_options(page: Path) -> None:
    for command, options in COMMAND.findall(page.read_text()):
        said = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert said.exit_code == 0, f"{page.name} names `overread {command}`: {said.output}"
        assert "Example: overread" in said.output or "Commands" in said.output
        for option in re.findall(r"--[a-z-]+", options):
            assert option in said.output, f"{page.name} names `overread {command} {option}`"


def test_the_readme_names_every_command() -> None:
    table = (ROOT / "README.md").read_text().split("| command |")[1].split("\n\n")[0]
    groups = [
        app,
        *(g.typer_instance for g in app.registered_groups if g.typer_instance and g.name != "score"),
    ]
    for command in (command for group in groups for command in group.registered_commands):
        name = command.name or getattr(command.callback, "__name__", "")
        assert re.search(rf"`(overread )?([a-z]+ )?{name}\b", table), f"README's table lacks {name}"


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/security.md").read_text()))
    there = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(TEST, path.read_text())
    }
    assert len(named) > 40
    assert named <= there, f"docs/security.md names tests that do not exist: {sorted(named - there)}"


def test_the_administrators_page_explains_every_state_a_study_can_be_in() -> None:
    page = (ROOT / "docs/operate.md").read_text()
    table = page.split("| state |")[1].split("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE) == list(STATE_MEANINGS)


def test_the_design_page_names_all_that_a_reading_has() -> None:
    code, origin = Code("SCT", "1", "lesion"), (0.0, 0.0, 0.0)
    axis = Axis(origin, origin)
    finding = Finding("lesion", code, origin, (origin, origin), "1.2", 0.5, axis, axis, 1.0)
    model = Model("one", "1", "0")
    body = to_json(Reading("ct-lesions", "1.2", (model,), (finding, replace(finding, in_pixels=True))))
    parts = [field.name for part in (Change, Response, Uptake, SolidPart) for field in fields(part)]
    named = (ROOT / "docs/design.md").read_text().split("### `reading.json`")[1].split("\n### ")[0]
    keys = [*body, *body["findings"][0], *body["findings"][1], *parts]
    assert [key for key in keys if not re.search(rf"[`\"]{key}[`\"]", named)] == []


def test_the_page_on_training_tells_the_limits_of_a_closer_look() -> None:
    page = " ".join((ROOT / "docs/train.md").read_text().split())
    assert f"from {look._BESIDE} of its diameter to each of its six sides" in page
    assert f"calls a nodule with less than {look._LEAST_NODULE}," in page
    assert f"has to be {partners._AS_SURE} of the lesion's score" in page
    assert "at its size there, and at half of it" in page
    assert partners._SIZES == (1.0, 0.5)
