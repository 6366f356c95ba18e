"""Scores of masks and of registrations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.errors import BrokenDataError
from training.metrics import classification, overlap, registration
from training.score.files import called_masks, first, named_once, read_arrays, result, true_masks
from training.score.form import Line, Score
from training.tables import read_table

_WORST = 18


def dice_score(truth: Path, results: Path, *, threshold: float = 0.5, group: Path | None = None) -> Score:
    """Mean Dice and IoU of images, each at its native size.

    truth, results: folders of masks with the same file names (extensions may differ), or two NPZ files with
    the same keys. Of results, which may be probabilities, what is above ``threshold`` is inside. group: a
    table of names in its first column and ``group``, what each belongs to, such as its patient, whose masks
    are resampled together.
    """
    true, found = true_masks(truth), called_masks(results, threshold)
    if missing := sorted(set(true) - set(found)):
        raise BrokenDataError(f"{results} has no mask for {missing[0]} ({len(missing)} missing)")
    for name in true:
        if true[name].shape != found[name].shape:
            raise BrokenDataError(
                f"the mask {name} is {true[name].shape} in {truth} and {found[name].shape} in {results}"
            )
    scores = overlap.per_image((true[name], found[name]) for name in true)
    groups = _groups(true, group) if group else None
    mean_dice, mean_iou = (classification.mean_interval(v, groups) for v in (scores.dice, scores.iou))
    lines = (
        Line("mDice", mean_dice.value, mean_dice.low, mean_dice.high),
        Line("mIoU", mean_iou.value, mean_iou.low, mean_iou.high),
    )
    body: dict[str, Any] = {
        "images": len(true),
        **({"groups": len(set(groups))} if groups else {}),
        **mean_dice.told("mean_dice"),
        **mean_iou.told("mean_iou"),
        "by_image": {n: {"dice": d, "iou": i} for n, d, i in zip(true, scores.dice, scores.iou, strict=True)},
    }

    def draw(path: Path) -> None:
        from training.metrics.pictures import draw_sheet

        worst = [name for _, name in sorted(zip(scores.dice, true, strict=True)) if true[name].ndim == 2]
        worst = worst[:_WORST]
        drawn, called = [true[name] for name in worst], [found[name] for name in worst]
        titles = [f"{name}: {body['by_image'][name]['dice']:.3f}" for name in worst]
        draw_sheet(
            [a ^ b for a, b in zip(drawn, called, strict=True)], titles, path, true=drawn, found=called
        )

    return Score("dice", lines, body, {"worst.png": draw})


def _groups(names: Iterable[str], table: Path) -> list[str]:
    """The group of each name."""
    known = {first(row): row.text("group") for row in named_once(read_table(table, ("group",)))}
    if missing := sorted(set(names) - set(known)):
        raise BrokenDataError(f"{table} has no row for {missing[0]!r} ({len(missing)} missing)")
    return [known[name] for name in names]


def registration_score(fixed: Path, moved: Path, *, field: Path | None = None) -> Score:
    """TRE of landmarks; folding of a field.

    fixed, moved: ``name,x,y,z`` in mm, the same names. field: an NPZ with ``displacement_mm`` (slice, row,
    column, 3), ``spacing_mm`` (3), and, to compare structures, label images ``fixed`` and ``moved``.
    """
    axes = ("x", "y", "z")
    there = {row.text("name"): row for row in named_once(read_table(moved, ("name", *axes)))}
    rows = list(named_once(read_table(fixed, ("name", *axes))))
    if not rows:
        raise BrokenDataError(f"{fixed} has no landmarks")
    a = [[row.number(axis) for axis in axes] for row in rows]
    b = [[result(row, there, moved).number(axis) for axis in axes] for row in rows]
    error = registration.target_error(a, b)
    lines = [Line(name.replace("_mm", " TRE, mm"), value) for name, value in asdict(error).items()]
    body: dict[str, Any] = {"landmarks": len(rows), "tre": asdict(error)}
    if field is not None:
        arrays = read_arrays(field)
        if "displacement_mm" in arrays:
            folds = registration.folding(arrays["displacement_mm"], arrays["spacing_mm"].tolist())
            lines += [Line("folded voxels", folds.folded), Line("sd of log |J|", folds.sd_log)]
            body["folding"] = asdict(folds)
        if {"fixed", "moved"} <= set(arrays):
            by_label = registration.structure_dice(arrays["fixed"], arrays["moved"])
            lines += [Line(f"Dice, label {label}", value) for label, value in by_label.items()]
            body["dice"] = {str(label): value for label, value in by_label.items()}
    return Score("registration", tuple(lines), body)
