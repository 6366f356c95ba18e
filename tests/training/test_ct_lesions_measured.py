"""How what is found is held against what is there: on DeepLesion's key slices, and in phantoms."""

from __future__ import annotations

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.findings import Axis, Code, Finding, Mask
from inference.volume import Volume
from training.datasets.case import Box, Case, CaseImage
from training.evaluate import ct_lesions
from training.evaluate.ct_lesions import evaluate_phantoms, key_slices
from training.phantoms.acquisition import Scan
from training.phantoms.bodies import BodyLesion, body_phantom
from training.phantoms.fields import Grid

SIZE = 64
GRID = Grid.centred((40, 90, 120), (3.0, 3.0, 3.0), (-170.0, -5.0, 0.0))
LESION = Code("52988006", "SCT", "Lesion")


def outlined(x: int, y: int, width: int, height: int) -> Finding:
    """A finding on the middle one of three slices whose mask fills a rectangle."""
    mask = Mask((1, y, x), np.ones((1, height, width), bool))
    origin = (0.0, 0.0, 0.0)
    axis = Axis(origin, origin)
    return Finding("lesion", LESION, origin, (origin, origin), "", 0.9, axis, axis, 1.0, mask=mask)


def padded(x: int, y: int, width: int, height: int) -> Box:
    """The box that DeepLesion draws around such a lesion."""
    return Box("lung", (max(x - 5, 0), max(y - 5, 0)), (min(x + width + 5, SIZE), min(y + height + 5, SIZE)))


def test_a_lesion_outlined_rightly_is_a_hit_by_both_rules_however_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DeepLesion's boxes are 5 pixels larger on each side: the first lesion covers a sixth of its own."""
    lesions = [(20, 30, 6, 8), (0, 50, 7, 14)]
    image = CaseImage(np.zeros((3, SIZE, SIZE), np.int16), "HU", (2.0, 0.8, 0.8))
    case = Case("k.png", "1", lambda: image, boxes=tuple(padded(*lesion) for lesion in lesions))
    monkeypatch.setattr(ct_lesions, "found_in", lambda *_: [outlined(*lesion) for lesion in lesions])
    told = key_slices([case], None, Catalogue())
    assert (told["slices"], told["lesions"], told["found_boxes_padded_px"]) == (1, 2, 5)
    for rule in ("iou", "iobb"):
        assert told[f"mean_sensitivity_{rule}"] == 1
        assert [told[f"sensitivity_{rule}_at_{rate}"] for rate in ("0.5", "1", "2", "4")] == [1] * 4
        assert len(told[f"mean_sensitivity_{rule}_ci"]) == 2


@pytest.mark.parametrize("tells", [True, False])
def test_malignancy_is_measured_of_weights_that_tell_it_alone(
    tells: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every lesion of three phantoms found as it is, and suspected rightly."""

    def found(volume: Volume, *_: object) -> list[Finding]:
        phantom = phantoms[volume.series_uid]
        return [as_true(lesion, volume, tells) for lesion in phantom.lesions]

    phantoms = {str(n): body_phantom(9500 + n, GRID, 14, scan=Scan()) for n in range(3)}
    monkeypatch.setattr(ct_lesions, "SCANS", len(phantoms))
    monkeypatch.setattr(ct_lesions, "phantom_case", lambda seed, _: phantoms[str(seed - 70_000)])
    monkeypatch.setattr(ct_lesions, "found_in", found)
    told = evaluate_phantoms(None, "held-out", None, Catalogue())
    assert told["found_at_all"] == told["lesions"] > 4
    assert told["mean_sensitivity"] == 1
    assert told.get("malignancy_auroc") == (1 if tells else None)
    assert ("malignancy_auroc_of_diameter" in told) == tells


def as_true(lesion: BodyLesion, volume: Volume, tells: bool) -> Finding:
    low = np.array(lesion.mask.origin)
    x, y, z = volume.to_patient(low + np.array(lesion.mask.voxels.shape) / 2 - 0.5)
    at = (float(x), float(y), float(z))
    axis = Axis(at, at)
    suspicion = float(lesion.malignant) if tells else None
    return Finding(
        "Lesion", LESION, at, (at, at), "", 0.9, axis, axis, lesion.volume_mm3, None, suspicion, lesion.site
    )
