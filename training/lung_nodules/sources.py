"""The real data ``lung-nodules`` learns from: LIDC slice crops, scans as backgrounds, annotated scans."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inference.findings import Point
from inference.volume import Volume
from training.datasets.case import Case
from training.datasets.ct_scans import CtScan, scans_in
from training.datasets.luna16 import read_luna16
from training.datasets.splits import kept_splits
from training.errors import BrokenDataError
from training.phantoms.nodules import Nodule

_MARGIN_MM = 10.0
_MOST_CANDIDATES = 12


@dataclass(frozen=True)
class RealSeries:
    """A scan to draw nodules into, and to learn its own from.

    nodules: those it is known to have. kept_clear: places (LPS mm) and radii (mm) that nothing is learned
    from. mistaken: places that look like a nodule and are none. held_out: to choose the weights by. folder:
    where it lies, of a scan whose name tells it from others of its data set alone.
    """

    name: str
    load: Callable[[], Volume] = field(repr=False)
    nodules: tuple[Nodule, ...] = ()
    kept_clear: tuple[tuple[Point, float], ...] = ()
    mistaken: tuple[Point, ...] = ()
    license: str = ""
    held_out: bool = False
    folder: str = ""

    @property
    def known(self) -> tuple[tuple[Point, float], ...]:
        """Places and radii of whatever is no background."""
        return (*self.kept_clear, *((n.center_mm, n.diameter_mm / 2 + _MARGIN_MM) for n in self.nodules))


@dataclass(frozen=True)
class Sources:
    """``lidc``: a folder of the layout ``lidc-slices``, of which the train split alone is used."""

    lidc: Path | None = None
    scans: tuple[RealSeries, ...] = ()

    @property
    def layout(self) -> str:
        """Of the data they are, as ``--layout`` names it."""
        return "lidc-slices" if self.lidc is not None else "luna16" if self.scans else "phantom"

    def lidc_tables(self) -> list[bytes]:
        """What tells ``lidc`` from other data: its tables, and those its pixels' spacing is found by."""
        if self.lidc is None:
            return []
        folders = self.lidc, self.lidc.parent / "luna16_annotations"
        return [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.csv"))]


def lidc_and_scans(folder: Path) -> Sources:
    """``folder`` is of the layout ``lidc-slices``, or holds one that is; then those of its CT scans (layout
    ``ct-scans``) that may serve as backgrounds are used too, if it holds any.

    Raises:
        BrokenDataError: there is none, or more than one.
    """
    if (folder / "nodules.csv").is_file():
        return Sources(folder)
    found = sorted(p.parent for p in folder.glob("*/nodules.csv"))
    if len(found) != 1:
        raise BrokenDataError(
            f"{folder} is not of the layout lidc-slices (it holds no nodules.csv), and of its folders "
            f"{len(found) or 'none'} is; name one that is, or one that holds it"
        )
    return Sources(found[0], tuple(_background(s) for s in scans_in(folder) if s.use == "background"))


def luna16(folder: Path, splits: Path) -> Sources:
    """The scans of LUNA16 as released that ``splits``, a file that is written where there is none, calls
    train, and to choose the weights by those it calls validation.

    Raises:
        BrokenDataError: the folder is not laid out so, or ``splits`` is no table of splits, or leaves none.
    """
    cases = read_luna16(folder)
    of_patient = kept_splits(splits, (case.patient for case in cases))
    used = [case for case in cases if of_patient[case.patient] in ("train", "validation")]
    if not used:
        raise BrokenDataError(f"{splits} leaves none of the {len(cases)} scans in {folder} to learn from")
    return Sources(scans=tuple(_annotated(case, of_patient[case.patient] == "validation") for case in used))


def _background(scan: CtScan) -> RealSeries:
    clear = tuple((center, radius + _MARGIN_MM) for center, radius in scan.lesions)
    folder = str(scan.folder.resolve())
    return RealSeries(scan.name, scan.load, kept_clear=clear, license=scan.license, folder=folder)


def _annotated(case: Case, held_out: bool) -> RealSeries:
    by_label: dict[str, list[tuple[Point, float | None]]] = {}
    for place in case.places:
        by_label.setdefault(place.label, []).append((place.center_mm, place.diameter_mm))
    nodules = tuple(Nodule(center, size or _MARGIN_MM) for center, size in by_label.get("nodule", ()))
    excluded = tuple((c, (size or _MARGIN_MM) / 2 + 4) for c, size in by_label.get("excluded", ()))
    candidates = [at for at, _ in by_label.get("candidate", ()) if not within(at, excluded)]
    steps = np.linspace(0, len(candidates) - 1, min(len(candidates), _MOST_CANDIDATES)).astype(int)
    return RealSeries(
        case.id,
        lambda: volume_of(case),
        nodules,
        excluded,
        tuple(candidates[int(k)] for k in steps),
        "CC BY 4.0",
        held_out,
    )


def within(at: Point, places: Iterable[tuple[Point, float]]) -> bool:
    """Whether ``at`` (LPS mm) lies in the radius (mm) of one of ``places``."""
    return any(np.linalg.norm(np.subtract(at, place)) < radius for place, radius in places)


def volume_of(case: Case) -> Volume:
    """The scan of a case, as a reader takes it.

    Raises:
        BrokenDataError: it cannot be read, or does not say where its voxels lie.
    """
    image = case.load()
    if image.affine is None:
        raise BrokenDataError(f"{case.id} does not say where its voxels lie")
    images = (None,) * len(image.pixels)
    return Volume(image.pixels.astype(np.int16), image.affine, case.id, case.id, images)
