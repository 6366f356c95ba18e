"""A PET with the CT of the same study, as one volume: SUV on the PET's own slices, and the CT beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from inference.errors import UnreadableSeriesError
from inference.findings import Caveat
from inference.header import NO_HEADERS, Headers
from inference.registration.transform import sampled
from inference.suv import Normalisation, SuvScale, suv_scale
from inference.tracer import Tracer, tracer_of
from inference.volume import Volume, load_volume

_BODY_MM = 12.0
_BODY_HU = -150.0
_BODY_SUV = (0.1, 5.0)


@dataclass(frozen=True, eq=False)
class PetCt(Volume):
    """``voxels``: SUV of body weight, g/ml, float32, on the PET's slices. ``ct``: HU, in the same frame of
    reference. ``scale``: how the SUV came about, and what turns it into that of lean body mass."""

    ct: Volume | None = None
    scale: SuvScale | None = None

    @property
    def lean_factor(self) -> float | None:
        """SUV of lean body mass (Janmahasatian) over that of body weight; None where height or sex is not
        known."""
        factors = self.scale.factors if self.scale else {}
        lean = factors.get(Normalisation.LEAN_JANMAHASATIAN)
        return lean / factors[Normalisation.BODY_WEIGHT] if lean else None


def load_pet_ct(paths: Sequence[Path], threads: int = 0, headers: Headers = NO_HEADERS) -> PetCt:
    """The PET and the CT among ``paths``, in any order.

    Raises:
        UnreadableSeriesError: one of the two is missing or unsound, they lie in different frames of
            reference, the tracer is not FDG, or no SUV comes of the PET; says why.
    """
    by_modality: dict[str, list[Path]] = {"PT": [], "CT": []}
    for path in paths:
        by_modality.setdefault(modality_of(path, headers), []).append(path)
    if not by_modality["PT"] or not by_modality["CT"]:
        missing = "PET" if not by_modality["PT"] else "CT"
        raise UnreadableSeriesError(f"There is no {missing} among the files; a PET is read with its CT.")
    of_pet = [pydicom.dcmread(path, stop_before_pixels=True) for path in by_modality["PT"]]
    tracer = tracer_of(of_pet[0])
    if tracer.is_fdg is False:
        raise UnreadableSeriesError(
            f"The tracer of the PET is {tracer.name}, not FDG; its uptake would be judged as what it is not."
        )
    pet = load_volume(by_modality["PT"], threads, headers)
    ct = load_volume(by_modality["CT"], threads, headers)
    if not pet.frame_of_reference_uid or pet.frame_of_reference_uid != ct.frame_of_reference_uid:
        raise UnreadableSeriesError(
            "PET and CT lie in different frames of reference, or in none, so nothing says where one is in "
            "the other; send the CT acquired with the PET."
        )
    scale = suv_scale(of_pet)
    voxels = np.asarray(pet.voxels, np.float32) * np.float32(scale.factors[Normalisation.BODY_WEIGHT])
    _check_body(replace(pet, voxels=voxels), ct)
    unstated = () if tracer.is_fdg else (Caveat("assumed", _unstated(tracer)),)
    return PetCt(
        voxels=voxels,
        affine=pet.affine,
        series_uid=pet.series_uid,
        frame_of_reference_uid=pet.frame_of_reference_uid,
        images=pet.images,
        caveats=(
            *pet.caveats,
            *(replace(caveat, statement=f"CT: {caveat.statement}") for caveat in ct.caveats),
            *(Caveat("assumed", note) for note in scale.notes),
            *unstated,
        ),
        thickness_mm=pet.thickness_mm,
        ct=ct,
        scale=scale,
    )


def _unstated(tracer: Tracer) -> str:
    said = f"only calls its tracer {tracer.name!r}" if tracer.name else "does not name its tracer"
    return f"The PET {said}: it was read as FDG."


def _check_body(suv: Volume, ct: Volume) -> None:
    """Whether the median SUV of all that is denser than lung can be that of a body.

    A dose spread evenly is SUV 1 everywhere; of FDG fat holds 0.2 to 0.4, muscle 0.5 to 1, liver 2 to 3. The
    bounds leave room for all that illness and sugar do to it, and none for a dose in another unit.

    Raises:
        UnreadableSeriesError: it cannot, or the PET lies where the CT shows no body.
    """
    steps = [max(1, round(_BODY_MM / mm)) for mm in ct.spacing_mm]
    z, y, x = (slice(None, None, step) for step in steps)
    values = sampled(suv, ct.to_patient(np.argwhere(ct.voxels[z, y, x] > _BODY_HU) * steps), float("nan"))
    values = values[np.isfinite(values)]
    if not len(values):
        raise UnreadableSeriesError(
            "The CT shows no body where the PET lies; send the CT acquired with the PET."
        )
    median, (low, high) = float(np.median(values)), _BODY_SUV
    if not low <= median <= high:
        raise UnreadableSeriesError(
            f"The median SUV of the body is {median:.2g} g/ml, which no body has ({low:g} to {high:g}): "
            "weight, dose, times or units are wrong in the header; send the series again with the right ones."
        )


def modality_of(path: Path, headers: Headers = NO_HEADERS) -> str:
    """Empty where the file tells none."""
    if slices := headers.get(path):
        return slices[0].modality
    try:
        return str(pydicom.dcmread(path, specific_tags=["Modality"]).get("Modality") or "")
    except (InvalidDicomError, OSError, EOFError):
        return ""
