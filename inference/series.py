"""A series as what it is: a volume, two in one frame, or pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inference.header import NO_HEADERS, Headers
from inference.pet_ct import load_pet_ct, modality_of
from inference.picture import load_pictures
from inference.volume import Volume, load_volume

_PICTURES = frozenset({"CR", "DX", "ES", "XC", "SC", "OT", "GM", "RG"})


def load_series(paths: Sequence[Path], headers: Headers = NO_HEADERS) -> Volume:
    """A volume of CT or PET slices, a ``PetCt`` where ``paths`` begin in the one and end in the other, or
    ``Pictures`` of any other modality we know. ``headers``: of CT and PET files that were looked at already.

    Raises:
        UnreadableSeriesError: see ``load_volume``, ``load_pet_ct`` and ``load_pictures``.
    """
    ends = {modality_of(path, headers) for path in (*paths[:1], *paths[-1:])}
    if ends & _PICTURES:
        return load_pictures(paths)
    if ends == {"PT", "CT"}:
        return load_pet_ct(paths, headers=headers)
    return load_volume(paths, headers=headers)
