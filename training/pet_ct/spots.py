"""Hot spots of phantoms, found as the reader finds them, with what they truly are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.hot_spots import HotSpot, hot_spots
from inference.readers.pet_ct import crops
from inference.volume import Volume
from training.datasets.lung_pet_ct_dx import TYPES
from training.phantoms.hot_lesions import SITES
from training.phantoms.pet import PetCtPhantom, TrueLesion, pet_ct_phantom

LEAST_SUV, LEAST_ML, MOST = 2.2, 0.3, 150
PHYSIOLOGICAL, BENIGN, MALIGNANT = 0, 1, 2
HISTOLOGIES = tuple(TYPES.values())
KINDS = ("physiological", "benign", "malignant")
PATIENTS_PER_ANATOMY = 10


@dataclass(frozen=True, eq=False)
class Spots:
    """Crops of hot spots: ``pet`` SUV and ``ct`` HU, float16, ``region`` uint8, each (n, 32, 32, 32).
    kind: number in ``KINDS``. site: number in ``SITES``, -1 where physiological or not known. histology:
    number in ``HISTOLOGIES``, -1 where not known. patient: whose."""

    pet: npt.NDArray[np.float16]
    ct: npt.NDArray[np.float16]
    region: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.int64]
    site: npt.NDArray[np.int64]
    histology: npt.NDArray[np.int64]
    patient: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def joined(cls, parts: Sequence[Spots]) -> Spots:
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def volumes(phantom: PetCtPhantom) -> tuple[Volume, Volume]:
    """The phantom's PET and CT as the reader takes them."""
    made = [
        Volume(voxels, affine, uid, "phantom", (None,) * len(voxels))
        for voxels, affine, uid in (
            (phantom.pet, phantom.pet_affine, "pet"),
            (phantom.ct, phantom.ct_affine, "ct"),
        )
    ]
    return made[0], made[1]


def lesion_of(spot: HotSpot, lesions: Sequence[TrueLesion], pet: Volume) -> TrueLesion | None:
    """The lesion a hot spot shows: the one whose centre is nearest to its peak or its middle, where that lies
    in the lesion, give or take half a breath."""
    middle = pet.to_patient(np.argwhere(spot.mask.voxels).mean(0) + spot.mask.origin)
    places = np.stack([pet.to_patient(spot.peak), middle])
    best: tuple[float, TrueLesion] | None = None
    for lesion in lesions:
        away = float(np.linalg.norm(places - lesion.center_mm, axis=1).min())
        if away < lesion.recipe.diameter_mm * 0.6 + 6 and (best is None or away < best[0]):
            best = away, lesion
    return best[1] if best else None


def patient_spots(
    number: int, *, first_anatomy: int, shifted: bool = False, most_physiological: int | None = 14
) -> Spots | None:
    """Hot spots of patient ``number``, who shares a body with some others but nothing else, and has more
    lesions than patients have; None where nothing is hot."""
    count = int(np.random.default_rng([number, 94]).integers(4, 10))
    anatomy = first_anatomy + number // PATIENTS_PER_ANATOMY
    phantom = pet_ct_phantom(anatomy, number, count, shifted=shifted)
    pet, ct = volumes(phantom)
    found = hot_spots(pet, least_suv=LEAST_SUV, least_ml=LEAST_ML, most=MOST)
    truths = [lesion_of(spot, phantom.lesions, pet) for spot in found]
    kept = [k for k, truth in enumerate(truths) if truth is not None]
    others = [k for k, truth in enumerate(truths) if truth is None]
    rng = np.random.default_rng([number, 95])
    kept += rng.permutation(others)[:most_physiological].tolist()
    if not kept:
        return None
    pets, cts, regions = crops(pet, ct, [found[k] for k in kept])
    chosen = [truths[k] for k in kept]
    return Spots(
        pets.astype(np.float16),
        cts.astype(np.float16),
        np.rint(regions * 255).astype(np.uint8),
        np.array(
            [PHYSIOLOGICAL if t is None else MALIGNANT if t.recipe.malignant else BENIGN for t in chosen]
        ),
        np.array([-1 if t is None else SITES.index(t.recipe.site) for t in chosen]),
        np.full(len(kept), -1),
        np.full(len(kept), number),
    )


def kept_spots(folder: Path, numbers: range, first_anatomy: int) -> Spots:
    """Of many patients, made once: ten to a file in ``folder``, which another run takes up."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for first in range(numbers.start, numbers.stop, PATIENTS_PER_ANATOMY):
        path = folder / f"patients-{first}.npz"
        if not path.exists():
            members = range(first, min(first + PATIENTS_PER_ANATOMY, numbers.stop))
            made = (patient_spots(n, first_anatomy=first_anatomy) for n in members)
            together = Spots.joined([m for m in made if m is not None])
            part = path.with_name(f"{path.stem}.part.npz")
            np.savez(part, allow_pickle=False, **together.__dict__)
            part.replace(path)
        with np.load(path) as arrays:
            unknown = {"histology": np.full(len(arrays["kind"]), -1)}
            parts.append(Spots(**(unknown | dict(arrays))))
    return Spots.joined(parts)
