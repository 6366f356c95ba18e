"""Hot spots of real PET/CTs, found as the reader finds them, with what the boxes of their CT say they are.

Boxes are of tumours that somebody marked; nodes and metastases may have none. So a spot without one is known
not to be cancer only where cancer is not plausible, and open elsewhere: benign is said of none.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.errors import UnreadableSeriesError
from inference.hot_spots import HotSpot, hot_spots
from inference.pet_ct import PetCt, load_pet_ct
from inference.readers.lungs import find_lungs
from inference.readers.pet_ct import CROP, checked, crops, ct_on_pet, registered
from inference.registration.estimate import MODEL as REGISTRATION
from inference.registration.transform import Registration, sampled
from inference.resample import AIR_HU
from inference.volume import Volume, load_volume
from training.datasets.pet_ct_studies import PetCtStudy, PlacedBox
from training.errors import BrokenDataError
from training.kept import digest, kept
from training.pet_ct.spots import HISTOLOGIES, LEAST_ML, LEAST_SUV, MALIGNANT, MOST, PHYSIOLOGICAL, Spots

OPEN = -1
NEAR_MM = 6.0
"""Half a breath: a spot this far from a box is what the box marks."""

_CLEAR_MM = 20.0
_FAINT_SUV = 4.0
_FAINT_SHARE = 0.28  # half the ratio to the primary from which nodes are called cancer: 0.56
_REMOTE_MM = 100.0
_BONE_HU = 100.0
_MOST_PHYSIOLOGICAL = 14

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Marked:
    """A PET/CT with its hot spots. ct: on an even grid in the PET's space. kinds: for each spot
    ``MALIGNANT``, ``PHYSIOLOGICAL`` or ``OPEN``. registration: how the CT, where the boxes lie, lies in the
    PET."""

    study: PetCtStudy
    pet: PetCt
    ct: Volume
    registration: Registration
    spots: Sequence[HotSpot]
    kinds: Sequence[int]

    def away_mm(self, spot: HotSpot, boxes: Sequence[PlacedBox]) -> float:
        """From the peak or the middle of a spot, whichever is nearer, to the nearest of ``boxes``."""
        return _away_mm(spot, self.pet, self.registration, boxes)


def marked(study: PetCtStudy, engine: Engine, catalogue: Catalogue) -> Marked:
    """A study, read as the reader reads it up to its hot spots.

    Raises:
        UnreadableSeriesError: the reader refuses it: no SUV, another tracer, no body; says why.
        BrokenDataError: a file of it is damaged; it is named.
    """
    pet = checked(_loaded(study))
    registration, _ = registered(pet, engine, catalogue)
    ct = ct_on_pet(pet, registration)
    spots = hot_spots(pet, least_suv=LEAST_SUV, least_ml=LEAST_ML, most=MOST)
    kinds = kinds_of(spots, pet, ct, registration, study.boxes)
    return Marked(study, pet, ct, registration, spots, kinds)


def kinds_of(
    spots: Sequence[HotSpot],
    pet: Volume,
    ct: Volume,
    registration: Registration,
    boxes: Sequence[PlacedBox],
) -> list[int]:
    """What is known of each spot.

    Malignant: its peak or its middle lies in a box, give or take half a breath. Physiological: it keeps
    20 mm clear of every box, and is faint or remote. Faint is a maximum below SUV 4 and below half of that
    ratio to the hottest boxed spot from which nodes are called cancer (0.56: Cerfolio and Bryant, Ann Thorac
    Surg 2007;83:1826). Remote is what lies more than 100 mm above or below the lungs, and in no bone: brain,
    bowel, kidney, bladder. All else is open.
    """
    boxed = [_away_mm(spot, pet, registration, boxes) <= NEAR_MM for spot in spots]
    hottest = max((spot.suv_max for spot, inside in zip(spots, boxed, strict=True) if inside), default=0.0)
    faint_below = min(_FAINT_SUV, _FAINT_SHARE * hottest)
    ends = _ends_of_lungs(ct)
    kinds = []
    for spot, inside in zip(spots, boxed, strict=True):
        points = _points(spot, pet)
        in_ct = registration.to_ct(points)
        clear = min(float(box.away_mm(in_ct).min()) for box in boxes) >= _CLEAR_MM
        harmless = spot.suv_max < faint_below or _is_remote(points, ct, ends)
        kinds.append(MALIGNANT if inside else PHYSIOLOGICAL if clear and harmless else OPEN)
    return kinds


def real_spots(
    studies: Sequence[PetCtStudy], folder: Path, engine: Engine, catalogue: Catalogue
) -> tuple[Spots | None, Mapping[str, tuple[str, ...]]]:
    """Crops of the spots that are known, and by reason the studies that the reader refuses. None where no
    spot is known. What a study gives is kept in ``folder``; ``patient`` counts the patients of ``studies``.

    Raises:
        BrokenDataError: a file is damaged; it is named.
    """
    numbers = {name: number for number, name in enumerate(sorted({one.patient for one in studies}))}
    parts: list[Spots] = []
    refused: dict[str, list[str]] = defaultdict(list)
    moved_by = catalogue.find(REGISTRATION).identity if REGISTRATION in catalogue.names else None
    for study in track(studies, "PET/CTs", disable=len(studies) < 2):
        made_from = (study.fingerprint(), moved_by, _POLICY)
        try:
            arrays = kept(
                folder / study.patient,
                made_from,
                lambda study=study: _cut(marked(study, engine, catalogue)),  # type: ignore[misc]
            )
        except UnreadableSeriesError as error:
            refused[str(error)].append(study.name)
            continue
        parts.append(Spots(**arrays, patient=np.full(len(arrays["kind"]), numbers[study.patient])))
    some = [part for part in parts if len(part)]
    return Spots.joined(some) if some else None, {why: tuple(uids) for why, uids in refused.items()}


def tell_left_out(left_out: Mapping[str, Sequence[str]]) -> None:
    """A line for each reason that studies are left out for: how many, which, and why."""
    for reason, uids in left_out.items():
        _log.warning("%d PET/CT left out (%s): %s", len(uids), ", ".join(uids), reason)


_POLICY = (NEAR_MM, _CLEAR_MM, _FAINT_SUV, _FAINT_SHARE, _REMOTE_MM, _BONE_HU, _MOST_PHYSIOLOGICAL)


def _loaded(study: PetCtStudy) -> PetCt:
    try:
        return load_pet_ct([*study.pet, *study.ct])
    except UnreadableSeriesError:
        for files in (study.pet, study.ct):
            _check_files(files)
        raise


def _check_files(files: Sequence[Path]) -> None:
    """Their headers made a volume: where their pixels do not, one is damaged."""
    try:
        load_volume(files)
    except UnreadableSeriesError as error:
        raise BrokenDataError(f"{files[0].parent} is no readable series: {error}") from error


def _cut(one: Marked) -> dict[str, npt.NDArray[Any]]:
    """The arrays of ``Spots`` but ``patient``: every boxed spot, and some of the physiological ones."""
    kinds = np.array(one.kinds, np.int64)
    rng = np.random.default_rng(int(digest(one.study.uid), 16))
    others = rng.permutation(np.flatnonzero(kinds == PHYSIOLOGICAL))[:_MOST_PHYSIOLOGICAL]
    chosen = np.concatenate([np.flatnonzero(kinds == MALIGNANT), others]).astype(np.int64)
    nothing = (np.zeros((0, *CROP), np.float32),) * 3
    pets, cts, regions = crops(one.pet, one.ct, [one.spots[k] for k in chosen]) if len(chosen) else nothing
    histology = HISTOLOGIES.index(one.study.histology)
    return {
        "pet": pets.astype(np.float16),
        "ct": cts.astype(np.float16),
        "region": np.rint(regions * 255).astype(np.uint8),
        "kind": kinds[chosen],
        "site": np.full(len(chosen), -1),
        "histology": np.where(kinds[chosen] == MALIGNANT, histology, -1),
    }


def _away_mm(spot: HotSpot, pet: Volume, registration: Registration, boxes: Sequence[PlacedBox]) -> float:
    middle = pet.to_patient(np.argwhere(spot.mask.voxels).mean(0) + spot.mask.origin)
    places = registration.to_ct(np.stack([pet.to_patient(spot.peak), middle]))
    return min((float(box.away_mm(places).min()) for box in boxes), default=float("inf"))


def _points(spot: HotSpot, pet: Volume) -> npt.NDArray[np.float64]:
    """The centres of its voxels, LPS mm of the PET."""
    return pet.to_patient(np.argwhere(spot.mask.voxels) + spot.mask.origin)


def _ends_of_lungs(ct: Volume) -> tuple[float, float] | None:
    """Their lowest and highest z, LPS mm; None where the CT shows no lungs."""
    lungs = find_lungs(ct)
    if lungs is None:
        return None
    inside = np.argwhere(lungs.away_mm <= 0)
    z = (inside @ lungs.affine[:3, :3].T + lungs.affine[:3, 3])[:, 2]
    return float(z.min()), float(z.max())


def _is_remote(points: npt.NDArray[np.float64], ct: Volume, ends: tuple[float, float] | None) -> bool:
    if ends is None:
        return False
    beyond = bool(points[:, 2].max() < ends[0] - _REMOTE_MM or points[:, 2].min() > ends[1] + _REMOTE_MM)
    return beyond and float(sampled(ct, points, AIR_HU).mean()) < _BONE_HU
