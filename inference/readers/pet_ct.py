"""PET/CT: hot spots are outlined on the PET, and a network that sees PET and CT says what each of them is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.card import CodedLabel, ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine, Tensors, infer_each
from inference.errors import UnreadableSeriesError
from inference.findings import Assessment, Code, Finding, Model, Reading, Uptake
from inference.hot_spots import HotSpot, hot_spots
from inference.measure import measure
from inference.pet_ct import PetCt
from inference.readers.sides import with_sides
from inference.readers.whole_volume import check_extent
from inference.registration.estimate import MODEL as REGISTRATION
from inference.registration.estimate import register_pet_to_ct
from inference.registration.transform import Registration, grid_points, sampled
from inference.resample import AIR_HU, resample, sample_crops
from inference.volume import Volume

NAME = "pet-ct"
HOT_SPOTS = "pet-ct-hot-spots"
HISTOLOGY = "histology"
"""The output that some networks for hot spots have: of which type a cancer is."""
HYPERMETABOLIC = Code("SCT", "52988006", "Lesion")
CROP = (32, 32, 32)
CROP_MM = 4.0

_BATCH = 16
_COARSE_MM = 16.0
_PEAK_MM3 = 1000.0
_LEAST_SLICES = 8

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Judged:
    """What the network makes of a hot spot: ``physiological``, ``benign`` and ``malignant`` add up to 1;
    ``site`` is where a lesion there lies. ``histologies``: how probable each type of cancer is, should it be
    one, by label; empty where the network knows none."""

    spot: HotSpot
    physiological: float
    benign: float
    malignant: float
    site: str
    histologies: Mapping[str, float] = field(default_factory=dict)

    @property
    def lesion(self) -> float:
        return 1 - self.physiological

    @property
    def malignancy(self) -> float:
        """The suspicion of it, given that the spot is a lesion; of the phantoms' truth, not of pathology."""
        return self.malignant / max(self.benign + self.malignant, 1e-6)

    @property
    def histology(self) -> str | None:
        """The likeliest type."""
        return max(self.histologies, key=lambda label: self.histologies[label], default=None)


def read(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Lesions that may be cancer, with SUV, metabolic volume, site and malignancy; the most certain first.
    Masks lie on the PET.

    Raises:
        UnreadableSeriesError: no CT beside the PET, too few slices, or an extent no body has.
        EngineError: a network cannot be run.
    """
    pet = checked(volume)
    model = catalogue.find(HOT_SPOTS)
    times = [time.perf_counter()]
    registration, models = registered(pet, engine, catalogue)
    ct = ct_on_pet(pet, registration)
    times.append(time.perf_counter())
    p = model.card.postprocess
    spots = hot_spots(pet, least_suv=p["least_suv"], least_ml=p["least_ml"], most=int(p["most_hot_spots"]))
    times.append(time.perf_counter())
    judged = judge(pet, ct, spots, engine, model.card)
    times.append(time.perf_counter())
    sites = {label.label: label for label in model.card.output("site").labels}
    findings = [_finding(one, pet, ct, sites[one.site]) for one in reported(judged, model.card)]
    times.append(time.perf_counter())
    names = ("registration", "preprocess", "inference", "postprocess")
    return Reading(
        reader=NAME,
        series_uid=volume.series_uid,
        models=(model.identity, *models),
        findings=with_sides(findings, ct),
        seconds={name: after - before for name, before, after in zip(names, times, times[1:], strict=False)},
        comparison_notes=(registration.reason,) if registration.reason else (),
    )


def judge(pet: Volume, ct: Volume, spots: Sequence[HotSpot], engine: Engine, card: ModelCard) -> list[Judged]:
    """A close look at each hot spot. ``ct`` lies on any grid of the PET's own space."""
    sites = [label.label for label in card.output("site").labels]
    types = [label.label for output in card.outputs if output.tensor == HISTOLOGY for label in output.labels]
    batches = [spots[at : at + _BATCH] for at in range(0, len(spots), _BATCH)]

    def fed(batch: Sequence[HotSpot]) -> Tensors:
        return {
            name: card.input(name).intensity.applied_to(values)[:, None]
            for name, values in zip(("pet", "ct", "region"), crops(pet, ct, batch), strict=True)
        }

    judged: list[Judged] = []
    answers = infer_each(engine, card.name, map(fed, batches))
    for batch, outputs in zip(batches, answers, strict=True):
        for number, spot in enumerate(batch):
            kinds = [float(v) for v in outputs["kind"][number]]
            site = sites[int(outputs["site"][number].argmax())]
            typed = outputs[HISTOLOGY][number] if types else ()
            histologies = {label: float(p) for label, p in zip(types, typed, strict=True)}
            judged.append(Judged(spot, kinds[0], kinds[1], kinds[2], site, histologies))
    return judged


def reported(judged: Sequence[Judged], card: ModelCard) -> list[Judged]:
    """Those that are lesions rather than physiology, and likely enough to be cancer; the likeliest first."""
    told = [
        one
        for one in judged
        if one.lesion >= card.threshold("lesion") and one.malignant >= card.threshold("report")
    ]
    return sorted(told, key=lambda one: (-one.malignant, one.spot.peak))


def crops(pet: Volume, ct: Volume, spots: Sequence[HotSpot]) -> tuple[Array, Array, Array]:
    """About the middle of each region: SUV, HU, and 1 within the region; each (n, 32, 32, 32) at 4 mm."""
    centers = [pet.to_patient(np.argwhere(s.mask.voxels).mean(0) + s.mask.origin) for s in spots]
    regions = [
        sample_crops(_region(pet, spot), [center], CROP, CROP_MM, fill=0.0)
        for spot, center in zip(spots, centers, strict=True)
    ]
    return (
        sample_crops(pet, centers, CROP, CROP_MM, fill=0.0),
        sample_crops(ct, centers, CROP, CROP_MM, fill=AIR_HU),
        np.concatenate(regions),
    )


def ct_on_pet(pet: PetCt, registration: Registration) -> Volume:
    """The CT where the PET shows the same part of the body: HU on an even grid of 4 mm in the PET's space.

    The map is worked out every 16 mm and taken as linear between, which no breath is too quick for.
    """
    assert pet.ct is not None
    if registration.kind == "identity":
        return resample(pet.ct, CROP_MM, fill=AIR_HU)
    grid = resample(replace(pet, voxels=np.zeros(pet.shape, np.int16)), CROP_MM, fill=0)
    coarse = resample(replace(pet, voxels=np.zeros(pet.shape, np.int16)), _COARSE_MM, fill=0)
    points = grid_points(coarse.affine, coarse.shape)
    shift = (registration.to_ct(points) - points).reshape(*coarse.shape, 3)
    there = grid_points(grid.affine, grid.shape)
    at = coarse.to_index(there).T
    moved = there + np.stack(
        [ndimage.map_coordinates(shift[..., k], at, order=1, mode="nearest") for k in range(3)], axis=1
    )
    return replace(grid, voxels=sampled(pet.ct, moved, AIR_HU).reshape(grid.shape))


def uptake(spot: HotSpot, pet: Volume, lean_factor: float | None = None) -> Uptake:
    """SUVmax, SUVmean, SUVpeak (the hottest sphere of 1 ml that has its centre in the region, PERCIST) and
    total lesion glycolysis of a hot spot."""
    values = pet.voxels[_box(spot)][spot.mask.voxels].astype(np.float64)
    mean, volume_ml = float(values.mean()), len(values) * pet.voxel_mm3 / 1000
    peak = _peak(spot, pet)
    return Uptake(
        suv_max=float(values.max()),
        suv_mean=mean,
        suv_peak=peak,
        glycolysis_g=mean * volume_ml,
        contour=spot.contour,
        lean_peak=None if lean_factor is None else lean_factor * peak,
    )


def _peak(spot: HotSpot, pet: Volume) -> float:
    """The highest mean over a sphere of 1 ml with its centre on a voxel of the region, by the voxels that
    have theirs in it (the global intensity peak of the IBSI). To count those at its edge by their shares
    would take in what lies beyond it: 3 to 10 % less in a lesion of 20 mm, where this is right to 4 %."""
    radius = (3 * _PEAK_MM3 / (4 * np.pi)) ** (1 / 3)
    reach = [int(np.ceil(radius / s)) for s in pet.spacing_mm]
    box = tuple(
        slice(max(o - r, 0), o + n + r)
        for o, n, r in zip(spot.mask.origin, spot.mask.voxels.shape, reach, strict=True)
    )
    offsets = np.meshgrid(
        *(np.arange(-r, r + 1) * s for r, s in zip(reach, pet.spacing_mm, strict=True)), indexing="ij"
    )
    sphere = (np.sqrt(sum(o**2 for o in offsets)) <= radius).astype(np.float32)
    means = ndimage.convolve(pet.voxels[box].astype(np.float32), sphere / sphere.sum(), mode="nearest")
    inside = tuple(
        slice(o - b.start, o - b.start + n)
        for o, n, b in zip(spot.mask.origin, spot.mask.voxels.shape, box, strict=True)
    )
    return float(means[inside][spot.mask.voxels].max())


def _finding(one: Judged, pet: PetCt, ct: Volume, site: CodedLabel) -> Finding:
    measured = measure(one.spot.mask, pet)
    inside = pet.to_patient(np.argwhere(one.spot.mask.voxels) + one.spot.mask.origin)
    return replace(
        measured.finding("Hypermetabolic lesion", HYPERMETABOLIC, one.lesion, one.spot.mask),
        mean_hu=float(sampled(ct, inside, AIR_HU).mean()),
        malignancy=one.malignancy,
        kind=one.site,
        site=Code(site.scheme, site.value, site.meaning),
        uptake=uptake(one.spot, pet, pet.lean_factor),
        assessments=_typed(one),
    )


def _typed(one: Judged) -> tuple[Assessment, ...]:
    """The type of what is cancer rather than benign; none where the network knows no types."""
    if one.histology is None or one.malignant <= one.benign:
        return ()
    share = min(max(round(100 * one.histologies[one.histology]), 1), 99)
    statement = f"{one.histology.capitalize()} is the likeliest of {len(one.histologies)} types ({share} %)."
    return (Assessment("Type of cancer", one.histology, statement),)


def registered(pet: PetCt, engine: Engine, catalogue: Catalogue) -> tuple[Registration, tuple[Model, ...]]:
    """How the CT lies in the PET, and the network that says so; as the scanner placed them without one."""
    assert pet.ct is not None
    if REGISTRATION not in catalogue.names:
        return Registration.identity("CT and PET are left as the scanner placed them."), ()
    found = register_pet_to_ct(pet.ct, pet, engine, catalogue)
    return found, (catalogue.find(REGISTRATION).identity,)


def _region(pet: Volume, spot: HotSpot) -> Volume:
    """A hot spot's mask as a volume of its own, with a rim of nothing."""
    padded = np.pad(spot.mask.voxels.astype(np.float32), 1)
    affine = pet.affine.copy()
    affine[:3, 3] = pet.to_patient(np.array(spot.mask.origin) - 1)
    return replace(pet, voxels=padded, affine=affine, images=(None,) * len(padded))


def _box(spot: HotSpot) -> tuple[slice, ...]:
    return tuple(slice(o, o + n) for o, n in zip(spot.mask.origin, spot.mask.voxels.shape, strict=True))


def checked(volume: Volume) -> PetCt:
    """A PET with its CT that can be read.

    Raises:
        UnreadableSeriesError: no CT beside the PET, too few slices, or an extent no body has.
    """
    if not isinstance(volume, PetCt) or volume.ct is None:
        raise UnreadableSeriesError("A PET is read together with the CT of its study; send both.")
    if volume.shape[0] < _LEAST_SLICES:
        raise UnreadableSeriesError(
            f"The PET holds {volume.shape[0]} slices; at least {_LEAST_SLICES} are needed."
        )
    check_extent(volume, "hot spots")
    check_extent(volume.ct, "hot spots")
    return volume
