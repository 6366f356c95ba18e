"""Phantom chest radiographs as a data set with labels and masks of lungs and heart, drawn when loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache, partial

from training.datasets.case import Case, CaseImage, Mask
from training.datasets.chest_labels import CLASSES
from training.phantoms.radiograph import Radiograph, radiograph, random_findings, taken


def radiograph_cases(seeds: Iterable[int], *, shifted: bool = False) -> list[Case]:
    """One case a seed, each of a patient of its own; masks as ``training.datasets.lung_masks`` has them."""
    return [_case(seed, shifted) for seed in seeds]


def _case(seed: int, shifted: bool) -> Case:
    found = random_findings(seed)
    return Case(
        id=f"{'shifted' if shifted else 'phantom'}-{seed}",
        patient=str(seed),
        load=partial(_image, seed, shifted),
        load_masks=partial(_masks, seed, shifted),
        labels={name: float(name in found) for name in CLASSES[:-1]} | {"no_finding": float(not found)},
        notes={"view": taken(seed, shifted=shifted)[0].view},
    )


@lru_cache(maxsize=256)
def _drawn(seed: int, shifted: bool) -> Radiograph:
    return radiograph(seed, shifted=shifted)


def _image(seed: int, shifted: bool) -> CaseImage:
    drawn = _drawn(seed, shifted)
    return CaseImage(drawn.picture, "grey", (drawn.spacing_mm, drawn.spacing_mm))


def _masks(seed: int, shifted: bool) -> Mapping[str, Mask]:
    drawn = _drawn(seed, shifted)
    right, left = drawn.lungs
    return {"right lung": right, "left lung": left, "heart": drawn.heart}
