"""How what is found on DeepLesion's key slices is held against its boxes."""

from __future__ import annotations

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.findings import Axis, Code, Finding, Mask
from training.datasets.case import Box, Case, CaseImage
from training.evaluate import ct_lesions
from training.evaluate.ct_lesions import key_slices

SIZE = 64
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
