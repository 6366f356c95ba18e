"""Nothing but the lesion tells of the lesion: labels cannot be guessed from renderings without any."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tests.training.leak import found_by_classifier
from training.phantoms.anatomy import chest_anatomy
from training.phantoms.chest import random_nodules
from training.phantoms.endoscopy import endoscopy_frame, polyp_count
from training.phantoms.fields import Grid
from training.phantoms.radiograph import FINDINGS, radiograph, random_findings
from training.phantoms.render import render

Frames = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def lesion_free_frames() -> tuple[Frames, npt.NDArray[np.bool_]]:
    """As many frames that would have had polyps as would have had none, all rendered without."""
    seeds = np.arange(3000)
    has_polyps = np.array([polyp_count(int(seed)) > 0 for seed in seeds])
    chosen = np.concatenate([seeds[has_polyps][:200], seeds[~has_polyps][:200]])
    frames = [endoscopy_frame(int(seed), size=16, polyps=0).picture for seed in chosen]
    return np.array(frames, np.float32), has_polyps[chosen]


def test_a_colon_does_not_tell_whether_it_would_have_had_a_polyp(
    lesion_free_frames: tuple[Frames, npt.NDArray[np.bool_]],
) -> None:
    frames, has_polyps = lesion_free_frames
    assert abs(found_by_classifier(frames, has_polyps) - 0.5) < 0.05


def test_a_leak_would_be_found(lesion_free_frames: tuple[Frames, npt.NDArray[np.bool_]]) -> None:
    """A fifth more red in the middle of the frames of one class."""
    frames, has_polyps = lesion_free_frames
    leaky = frames.copy()
    leaky[has_polyps, 4:12, 4:12, 0] *= 1.2
    assert found_by_classifier(leaky, has_polyps) > 0.6


@pytest.fixture(scope="module")
def healthy_radiographs() -> tuple[Frames, npt.NDArray[np.bool_]]:
    """Radiographs without any finding, and which findings each would have had, (radiographs, findings)."""
    seeds = range(400)
    pictures = [radiograph(seed, findings=frozenset(), size=24).picture for seed in seeds]
    findings = [[name in random_findings(seed) for name in FINDINGS] for seed in seeds]
    return np.array(pictures, np.float32), np.array(findings)


def told(pictures: Frames, findings: npt.NDArray[np.bool_]) -> float:
    """AUROC, the mean over all findings. By chance, with findings dealt out anew among 400 radiographs, its
    standard deviation is 0.02, that of one finding 0.04."""
    return float(np.mean([found_by_classifier(pictures, has_it) for has_it in findings.T]))


def test_a_chest_does_not_tell_which_findings_it_would_have_had(
    healthy_radiographs: tuple[Frames, npt.NDArray[np.bool_]],
) -> None:
    assert abs(told(*healthy_radiographs) - 0.5) < 0.05


def test_a_chest_that_tells_would_be_found(
    healthy_radiographs: tuple[Frames, npt.NDArray[np.bool_]],
) -> None:
    """The bodies of those who would have had findings a twentieth brighter for each: they are larger, say."""
    pictures, findings = healthy_radiographs
    leaky = pictures.copy()
    leaky[:, 6:18, 6:18] *= np.float32(1.05) ** findings.sum(1)[:, None, None]
    assert told(leaky, findings) > 0.7


def test_the_place_of_a_nodule_does_not_tell_whether_it_is_malignant() -> None:
    """Of nodules of one size: larger ones lie deeper and are malignant more often, as in patients."""
    anatomy = chest_anatomy(901)
    grid = Grid.centred((70, 72, 96), (4.0, 4.0, 4.0))
    hu, to_index = render(anatomy, grid), np.linalg.inv(grid.affine)
    patches, malignant = [], []
    for seed in range(1500):
        (label,) = random_nodules(anatomy, 1, seed=seed)
        if not 7 <= label.diameter_mm <= 15:
            continue
        at = np.rint((to_index @ (*label.center_mm, 1.0))[:3]).astype(int)
        z, y, x = np.clip(at - 3, 0, np.array(hu.shape) - 7)
        patches.append(hu[z : z + 7, y : y + 7, x : x + 7])
        malignant.append(label.malignant)
    assert len(patches) > 550
    assert abs(found_by_classifier(np.array(patches), np.array(malignant)) - 0.5) < 0.05
