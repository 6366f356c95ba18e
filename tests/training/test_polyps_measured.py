"""What is measured of frames of the same patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from inference.catalogue import Catalogue
from training.evaluate.polyps import evaluate_pictures
from training.phantoms.endoscopy import endoscopy_frame


def test_frames_of_one_sequence_are_resampled_as_one(tmp_path: Path) -> None:
    for name in ("Original", "Ground Truth"):
        (tmp_path / name).mkdir()
    for number in range(3):
        frame = endoscopy_frame(500 + number, size=128, polyps=1)
        Image.fromarray(frame.picture).save(tmp_path / f"Original/{number}.png")
        Image.fromarray(frame.mask.astype(np.uint8) * 255).save(tmp_path / f"Ground Truth/{number}.png")
    apart = evaluate_pictures("cvc-clinicdb", tmp_path, "", None, Catalogue())
    (tmp_path / "metadata.csv").write_text("frame_id,sequence_id\n0,1\n1,1\n2,1\n")
    alike = evaluate_pictures("cvc-clinicdb", tmp_path, "", None, Catalogue())
    assert (apart["patients"], alike["patients"]) == (3, 1)
    for name in ("mean_dice", "mean_iou"):
        low, high = apart[f"{name}_ci"]
        assert low < apart[name] < high
        low, high = alike[f"{name}_ci"]
        assert low == high and abs(low - apart[name]) < 1e-9
