"""Polyps as they are told of what the network draws on the pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inference.catalogue import Catalogue
from inference.picture import PLANE, Pictures
from inference.readers import polyps
from inference.readers.endoscopic import SIZE


class _ASquareOnEach:
    """A network that sees one square polyp on every picture."""

    def infer(
        self, model: str, inputs: dict[str, npt.NDArray[np.float32]]
    ) -> dict[str, npt.NDArray[np.float32]]:
        drawn = np.zeros((len(inputs["picture"]), 1, SIZE, SIZE), np.float32)
        drawn[..., SIZE // 4 : SIZE // 2, SIZE // 4 : SIZE // 2] = 0.99
        return {"polyps": drawn}


def test_polyps_beyond_the_most_that_are_reported_are_told_of() -> None:
    images = tuple(("1.2.1", number) for number in range(1, 24))
    video = Pictures(np.zeros((23, 96, 96, 3), np.uint8), PLANE, "1.2", "", images)  # type: ignore[arg-type]
    reading = polyps.read(video, _ASquareOnEach(), Catalogue())  # type: ignore[arg-type]
    assert len(reading.findings) == 20
    (caveat,) = reading.caveats
    assert (caveat.kind, caveat.images) == ("unreported", 3)
    assert caveat.statement.startswith("3 more outlines on 3 pictures not reported: the 20 most certain are.")


def test_the_first_and_the_last_picture_cut_no_polyp() -> None:
    images = (("1.2.1", 1), ("1.2.1", 2), ("1.2.1", 3))
    video = Pictures(np.zeros((3, 96, 96, 3), np.uint8), PLANE, "1.2", "", images)  # type: ignore[arg-type]
    found = polyps.read(video, _ASquareOnEach(), Catalogue()).findings  # type: ignore[arg-type]
    assert sorted(each.frame or 0 for each in found) == [1, 2, 3]
    assert not any(each.cut or each.caveat for each in found)
