"""Figures as pictures: FROC, ROC, confusion, reliability, and sheets of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from training.metrics.calibration import Reliability
from training.metrics.froc import Froc

matplotlib.use("Agg")
_INK, _SHADE = "#1f5f8b", "#1f5f8b33"


@contextmanager
def _picture(path: Path, *, rows: int = 1, columns: int = 1, size: tuple[float, float]) -> Iterator[Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    try:
        yield axes[0, 0] if rows * columns == 1 else axes
        figure.tight_layout()
        figure.savefig(path, dpi=120)
    finally:
        plt.close(figure)


def draw_froc(curve: Froc, path: Path, title: str = "") -> None:
    """Sensitivity against false positives per image, on a logarithmic axis, with its 95 % band."""
    with _picture(path, size=(6, 4.4)) as axis:
        if curve.band is not None:
            band = curve.band
            axis.fill_between(band.false_per_scan, band.low, band.high, color=_SHADE, linewidth=0)
        grid = np.geomspace(min(curve.rates), max(curve.rates), 500)
        axis.plot(grid, np.interp(grid, curve.false_per_scan, curve.sensitivity), color=_INK)
        axis.plot(curve.rates, curve.at_rates, "o", color=_INK, markersize=4)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_locator(FixedLocator(curve.rates))
        axis.xaxis.set_major_formatter(FixedFormatter([f"{rate:g}" for rate in curve.rates]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set(xlabel="false positives per image", ylabel="sensitivity", ylim=(0, 1.02), title=title)
        axis.grid(alpha=0.3)


def draw_roc(
    curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike, float]], path: Path, title: str = ""
) -> None:
    """By name: 1 - specificity, sensitivity, and the area for the legend."""
    with _picture(path, size=(5, 4.8)) as axis:
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, (false, true, area) in curves.items():
            axis.plot(false, true, label=f"{name} ({area:.3f})")
        axis.set(xlabel="1 − specificity", ylabel="sensitivity", title=title)
        axis.legend(fontsize=8, loc="lower right")


def draw_confusion(matrix: npt.NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """Counts, shaded by their share of the true class."""
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 2.5 + 0.6 * len(classes)
    with _picture(path, size=(side, side)) as axis:
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            shade = "white" if share[row, column] > 0.5 else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=shade)
        axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axis.set_yticks(range(len(classes)), classes)
        axis.set(xlabel="called", ylabel="true")


def draw_reliability(by_name: Mapping[str, Reliability], path: Path) -> None:
    """How often what was given a probability came true; the diagonal is perfect."""
    with _picture(path, size=(5, 4.8)) as axis:
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, found in by_name.items():
            axis.plot(found.probability, found.frequency, "o-", label=f"{name} (ECE {found.ece:.3f})")
        axis.set(xlabel="probability given", ylabel="share that came true", xlim=(0, 1), ylim=(0, 1))
        axis.legend(fontsize=8, loc="upper left")


def draw_scatter(
    truth: npt.NDArray[np.float64], told: Mapping[str, npt.NDArray[np.float64]], path: Path, title: str = ""
) -> None:
    """What was said of each case, by name, against what came true; on the diagonal both are the same."""
    with _picture(path, size=(5, 4.8)) as axis:
        ends = [float(truth.min()), float(truth.max())] if len(truth) else [0, 1]
        axis.plot(ends, ends, color="0.7", linewidth=1)
        for name, said in told.items():
            error = float(np.abs(said - truth).mean()) if len(truth) else float("nan")
            axis.plot(said, truth, ".", markersize=2, label=f"{name} (mean error {error:.3f})")
        margin = 0.1 * (ends[1] - ends[0])
        axis.set(xlim=(ends[0] - margin, ends[1] + margin), xlabel="said", ylabel="true", title=title)
        axis.legend(fontsize=8, loc="upper left")


def draw_sheet(
    images: Sequence[npt.NDArray[Any]],
    titles: Sequence[str],
    path: Path,
    *,
    true: Sequence[npt.NDArray[np.bool_]] = (),
    found: Sequence[npt.NDArray[np.bool_]] = (),
    columns: int = 6,
) -> None:
    """Images side by side, true masks outlined in green and found ones in orange; such as the worst cases."""
    rows = max(1, -(-len(images) // columns))
    with _picture(path, rows=rows, columns=columns, size=(2.2 * columns, 2.4 * rows)) as axes:
        for axis in np.ravel(axes):
            axis.axis("off")
        for number, (axis, image) in enumerate(zip(np.ravel(axes), images, strict=False)):
            axis.imshow(image, cmap=None if image.ndim == 3 else "gray")
            axis.set_title(titles[number], fontsize=7)
            for masks, colour in ((true, "#3ecf6f"), (found, "#ff9f1c")):
                if masks and masks[number].any():
                    axis.contour(masks[number], levels=[0.5], colors=colour, linewidths=0.8)
