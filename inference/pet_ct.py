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
from inference.suv import Normalisation, SuvScale, suv_scale
from inference.volume import Volume, load_volume


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
            reference, or no SUV comes of the PET; says why.
    """
    by_modality: dict[str, list[Path]] = {"PT": [], "CT": []}
    for path in paths:
        by_modality.setdefault(modality_of(path, headers), []).append(path)
    if not by_modality["PT"] or not by_modality["CT"]:
        missing = "PET" if not by_modality["PT"] else "CT"
        raise UnreadableSeriesError(f"There is no {missing} among the files; a PET is read with its CT.")
    pet = load_volume(by_modality["PT"], threads, headers)
    ct = load_volume(by_modality["CT"], threads, headers)
    if pet.frame_of_reference_uid != ct.frame_of_reference_uid:
        raise UnreadableSeriesError(
            "PET and CT lie in different frames of reference, so nothing says where one is in the other; "
            "send the CT acquired with the PET."
        )
    _check_decay(by_modality["PT"])
    scale = suv_scale(pydicom.dcmread(by_modality["PT"][0], stop_before_pixels=True))
    voxels = np.asarray(pet.voxels, np.float32) * np.float32(scale.factors[Normalisation.BODY_WEIGHT])
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
        ),
        ct=ct,
        scale=scale,
    )


def _check_decay(paths: Sequence[Path]) -> None:
    """Without decay correction each bed of a PET has a factor of its own; one serves only a single bed.

    Raises:
        UnreadableSeriesError: several beds, not corrected for decay.
    """
    tags = ["DecayCorrection", "AcquisitionTime"]
    headers = [pydicom.dcmread(path, specific_tags=tags) for path in paths]
    beds = {str(header.get("AcquisitionTime") or "") for header in headers}
    if len(beds) > 1 and any(header.get("DecayCorrection") == "NONE" for header in headers):
        raise UnreadableSeriesError(
            f"The PET is not corrected for decay and was acquired at {len(beds)} times, so its slices "
            "have no common SUV; send the series that is decay corrected."
        )


def modality_of(path: Path, headers: Headers = NO_HEADERS) -> str:
    """Empty where the file tells none."""
    if slices := headers.get(path):
        return slices[0].modality
    try:
        return str(pydicom.dcmread(path, specific_tags=["Modality"]).get("Modality") or "")
    except (InvalidDicomError, OSError, EOFError):
        return ""
