"""Progress where there is no terminal: plain lines on standard error, few of them."""

from __future__ import annotations

import pytest

from node.commands.terminal import progress


def test_a_count_is_told_at_each_tenth_of_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("files") as bar:
        task = bar.add_task("to PACS", total=1000)
        for _ in range(1000):
            bar.advance(task)
    out, told = capsys.readouterr()
    assert not out
    assert told.splitlines() == [f"to PACS: {done} of 1000 files" for done in range(0, 1001, 100)]


def test_a_share_is_told_at_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        task = bar.add_task("looking", total=1.0)
        for stage, share in (("reading", 0.05), ("reading", 0.051), ("done", 1.0)):
            bar.update(task, description=stage, completed=share)
    assert capsys.readouterr().err.splitlines() == ["  0 % looking", "  5 % reading", "100 % done"]


def test_what_has_no_end_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        bar.add_task("checking", total=None)
    assert capsys.readouterr().err == "checking\n"
