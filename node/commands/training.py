"""`overread train`, `compare`, `evaluate` and `score`: all that the node's command line knows of training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from node.commands.terminal import console

INSTALLED = "installed"


def train(
    task: str,
    data: Path | None,
    layout: str,
    out: Path,
    *,
    start: str,
    config: Path | None,
    resume: bool,
    seed: int,
    minutes: float | None,
    activation: str,
    architecture: str | None,
    device: str,
) -> None:
    """Train ``task`` and print where the model repository with the result lies. start: the folder of an
    earlier run or of models, or ``installed`` for those that a node with the settings of ``config`` reads
    with; empty to start afresh."""
    from training import run

    repository = run.train(
        task,
        data,
        layout,
        out,
        start=_installed(config) if start == INSTALLED else Path(start) if start else None,
        resume=resume,
        seed=seed,
        minutes=minutes,
        activation=activation,
        architecture=architecture,
        device=device,
    )
    console().print(f"{repository} is a model repository with the result.")
    console().print(f"To read with it, set engine.models to {repository.resolve()} in overread.toml.")


def _installed(config: Path | None) -> Path:
    from inference.catalogue import SHIPPED_MODELS

    return _named(config) or SHIPPED_MODELS


def _named(config: Path | None) -> Path | None:
    """The models that the settings name; None for those that come with Overread."""
    from node.settings.file import load_settings

    return load_settings(config).engine.models


def evaluate(
    task: str,
    data: Path | None,
    layout: str,
    split: str,
    file: Path | None,
    pictures: Path | None,
    *,
    models: Path | None,
    config: Path | None,
) -> None:
    """Measure ``task`` and print the figures. models: the repository to measure; None for those that a node
    with the settings of ``config`` reads with."""
    from training import run

    figures = run.evaluate(task, data, layout, split, pictures, models or _named(config))
    place = f", {escape(figures['models'])}" if "models" in figures else ""
    splits = f", {escape(split)} by {escape(figures['splits'])}" if "splits" in figures else ""
    table = Table("figure", "", "95 % CI", title=f"{task}, {layout}{place}{splits}")
    for name, value in figures.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            table.add_row(name, _shown(value), _limits(*(figures.get(f"{name}_ci") or (None, None))))
    console().print(table)
    _write(figures, file)


def compare(task: str, out: Path, steps: int, seeds: int, file: Path | None) -> None:
    """Train the variants of ``task`` on a small budget and print them, best first."""
    from training.compare import compare

    figures = compare(task, out, steps=steps, seeds=seeds)
    title = f"{task}, {steps} steps, {seeds} seeds"
    table = Table("network", "activation", figures["metric"], "±", "parameters", "s/step", title=title)
    for row in figures["rows"]:
        spread = "" if row["deviation"] is None else f"{row['deviation']:.3f}"
        table.add_row(
            row["architecture"],
            row["activation"],
            f"{row['score']:.3f}",
            spread,
            f"{row['parameters']:,}",
            f"{row['seconds_per_step']:.3f}",
        )
    console().print(table)
    _write(figures, file)


def score(metric: str, file: Path | None, pictures: Path | None, **given: Any) -> None:
    """Score results by ``metric``, print a table, write JSON and pictures where they are wanted."""
    from training.score import METRICS

    found = METRICS[metric](**given)
    table = Table(metric, "", "95 % CI")
    for line in found.lines:
        table.add_row(line.name, _shown(line.value), _limits(line.low, line.high))
    out = console()
    out.print(table)
    counts = {n: v for n, v in found.figures.items() if isinstance(v, int | str)}
    if counts:
        out.print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in counts.items()))
    for path in found.draw(pictures) if pictures else ():
        out.print(f"{path} is drawn.")
    _write({"metric": metric, **found.figures}, file)


def _write(figures: Mapping[str, Any], file: Path | None) -> None:
    if file is None:
        return
    from training import strict_json

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(strict_json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console().print(f"{file} holds every figure.")


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _limits(low: float | None, high: float | None) -> str:
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"{low:.4f} to {high:.4f}"
