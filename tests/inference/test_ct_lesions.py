"""The ct-lesions reader: what it makes of a network's maps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import yaml

from inference.catalogue import Catalogue, CataloguedModel
from inference.engine import Tensors
from inference.errors import UnreadableSeriesError
from inference.findings import Point, Reading, Response
from inference.masks import dice, overlap, shared_voxels
from inference.readers import READERS, left_to
from inference.readers.candidates import Candidate
from inference.readers.ct_lesions import NAME, Seen, drawn, read, see, spot, told
from inference.readers.lung_nodules import Judged
from inference.readers.whole_volume import body_on_grid
from inference.resample import cropped
from inference.volume import Volume
from training.ct_lesions import cards

GREY = 40


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The card that training writes; what stands in for weights is never run here."""
    root = tmp_path_factory.mktemp("models")
    weights = root / NAME / "1" / "model.onnx"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"")
    points = {"candidate": {"threshold": 0.08}, "report": {"threshold": 0.5}}
    body = cards.card(1, points, [], []) | {"sha256": hashlib.sha256(b"").hexdigest()}
    (root / NAME / "model.yaml").write_text(yaml.safe_dump(body))
    return Catalogue(root)


@pytest.fixture(scope="module")
def network(catalogue: Catalogue) -> CataloguedModel:
    return catalogue.find(NAME)


class Spheres:
    """Answers as a perfect network would, of spheres that are known: centre in (slice, row, column) of the
    volume it is given, diameter in mm, number of the site."""

    at_once = 1

    def __init__(self, spheres: Sequence[tuple[Point, float, int]]) -> None:
        self.spheres = spheres

    def infer(self, model: str, inputs: Tensors) -> Tensors:
        shape = inputs["volume"].shape[2:]
        fine = np.indices(shape)
        coarse = np.indices([n // 2 for n in shape]) * 2 + 0.5
        maps = {
            "heatmap": np.zeros(coarse.shape[1:], np.float32),
            "diameter_mm": np.full(coarse.shape[1:], 5, np.float32),
            "malignancy": np.full(coarse.shape[1:], 0.25, np.float32),
        }
        site = np.zeros((8, *coarse.shape[1:]), np.float32)
        inside = np.zeros(shape, np.float32)
        for center, diameter, number in self.spheres:
            middle = np.reshape(center, (3, 1, 1, 1))
            away = 2 * np.sqrt(((coarse - middle) ** 2).sum(0))
            maps["heatmap"] = np.maximum(maps["heatmap"], 0.9 * np.exp(-((away / 4) ** 2))).astype(np.float32)
            maps["diameter_mm"][away < diameter / 2] = diameter
            site[number][away < diameter / 2] = 1
            far = 2 * np.sqrt(((fine - middle) ** 2).sum(0))
            inside = np.maximum(inside, np.clip(0.5 + (diameter / 2 - far) / 2, 0, 1)).astype(np.float32)
        batch = {name: values[None, None] for name, values in maps.items()}
        return {**batch, "site": site[None], "inside": inside[None, None]}

    def health(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def block(shape: tuple[int, int, int] = (60, 72, 80), spacing: float = 2.0) -> Volume:
    voxels = np.full(shape, GREY, np.int16)
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = spacing
    affine[:3, 3], affine[3, 3] = (-80, -70, 10), 1
    return Volume(voxels, affine, "1.2", "1.3", tuple((f"1.2.{n}", None) for n in range(shape[0])))


def test_a_sphere_is_measured_and_its_site_coded(network: CataloguedModel) -> None:
    volume = block()
    body = body_on_grid(volume, network.card)
    (found,) = drawn(spot(body, Spheres([((30, 36, 40), 24.0, 3)]), network.card), volume, network.card, 0.5)
    assert np.linalg.norm(np.subtract(found.center_mm, volume.to_patient((30, 36, 40)))) < 0.5
    assert found.long_axis_mm == pytest.approx(24, abs=2.5)
    assert found.short_axis_mm == pytest.approx(24, abs=2.5)
    assert found.volume_mm3 == pytest.approx(np.pi / 6 * 24**3, rel=0.1)
    assert found.mean_hu == GREY
    assert found.malignancy == pytest.approx(0.25)
    assert found.site is not None
    assert (found.kind, found.site.value, found.site.meaning) == ("liver", "10200004", "Liver")


@pytest.mark.parametrize("certainty", [0.6, 0.8, 1.1])
def test_what_is_drawn_is_as_large_as_the_network_says_though_it_doubts_the_border(
    network: CataloguedModel, certainty: float
) -> None:
    """``certainty``: twice that of the voxels at the border."""

    class Doubtful(Spheres):
        def infer(self, model: str, inputs: Tensors) -> Tensors:
            ((center, diameter, _),) = self.spheres
            fine = np.indices(inputs["volume"].shape[2:])
            away = 2 * np.sqrt(((fine - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0))
            inside = np.clip(certainty * (1 - away / diameter), 0, 1).astype(np.float32)
            return {**super().infer(model, inputs), "inside": inside[None, None]}

    volume = block()
    body = body_on_grid(volume, network.card)
    spotted = spot(body, Doubtful([((30, 36, 40), 32.0, 3)]), network.card)
    (found,) = drawn(spotted, volume, network.card, 0.2)
    assert found.volume_mm3 == pytest.approx(np.pi / 6 * 32**3, rel=0.1)


def test_two_lesions_that_touch_are_told_apart(network: CataloguedModel) -> None:
    volume = block()
    spheres = [((30, 36, 30), 24.0, 3), ((30, 36, 41), 20.0, 3)]
    spotted = spot(body_on_grid(volume, network.card), Spheres(spheres), network.card)
    found = drawn(spotted, volume, network.card, 0.5)
    assert len(found) == 2
    (one, other) = (f.mask for f in found)
    assert one is not None
    assert other is not None
    assert shared_voxels(one, other) == 0
    sizes = sorted((6 * f.volume_mm3 / np.pi) ** (1 / 3) for f in found)
    assert sizes == pytest.approx([20, 24], abs=2.5)


def test_a_long_volume_is_read_in_slabs_without_a_seam(
    network: CataloguedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = block((260, 40, 40))
    monkeypatch.setattr("inference.readers.candidates._MOST_VOXELS", 40 * 40 * 192)

    class Bright(Spheres):
        """Sees spheres where the scan is bright, wherever the slab begins."""

        def infer(self, model: str, inputs: Tensors) -> Tensors:
            bright = np.argwhere(inputs["volume"][0, 0] > 0.25)
            self.spheres = [(tuple(bright.mean(0)), 24.0, 0)] if len(bright) > 100 else []
            return super().infer(model, inputs)

    distance = np.linalg.norm(np.indices(volume.shape).T - np.array([100, 20, 20]), axis=-1).T * 2
    volume.voxels[distance < 12] = 400
    found = drawn(
        spot(body_on_grid(volume, network.card), Bright([]), network.card), volume, network.card, 0.5
    )
    assert [f.volume_mm3 == pytest.approx(np.pi / 6 * 24**3, rel=0.1) for f in found] == [True]


def test_a_reading_names_the_network_and_its_findings_come_surest_first(catalogue: Catalogue) -> None:
    spheres = [((30.0, 20.0, 30.0), 20.0, 4), ((30.0, 50.0, 41.0), 20.0, 3)]
    reading = read(block(), Spheres(spheres), catalogue)
    assert set(READERS[NAME].models) == {reading.model.name}
    scores = [f.score for f in reading.findings]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    assert read(block(), Spheres(spheres), catalogue).findings == reading.findings


def nodule(center: Point, certainty: float) -> Judged:
    """20 mm across, as the networks for the lungs see it."""
    away = np.linalg.norm(np.indices((12, 40, 40)).T - np.array([5.5, 19.5, 19.5]), axis=-1).T
    mask = np.clip(0.5 + (5 - away) / 2, 0, 1).astype(np.float32)
    return Judged(Candidate(center, 20.0, certainty), (2.0, 2.0, 2.0), mask, certainty, 0.75, "solid")


def test_a_nodule_joins_as_a_lesion_of_the_lung_that_is_reported() -> None:
    volume, catalogue = block(), Catalogue()
    report = catalogue.find(NAME).card.threshold("report")
    center = volume.to_patient((30, 36, 40))
    x, y, z = (float(v) for v in center)
    seen = Seen([], [nodule((x, y, z), 0.8)], (), {})
    (found,) = told(seen, volume, catalogue, report)
    assert (found.label, found.kind, found.malignancy) == ("Lesion", "lung", 0.75)
    assert found.site is not None
    assert found.site.meaning == "Lung"
    assert found.long_axis_mm == pytest.approx(20, abs=2.5)
    assert report <= found.score <= 1
    doubtful = replace(seen, nodules=[nodule((x, y, z), 0.1)])
    assert told(doubtful, volume, catalogue, report) == []


def test_what_both_have_drawn_is_told_once() -> None:
    volume, catalogue = block(), Catalogue()
    card = catalogue.find(NAME).card
    spheres = [((30, 36, 40), 20.0, 4), ((30, 36, 66), 20.0, 3)]
    spotted = spot(body_on_grid(volume, card), Spheres(spheres), card)
    x, y, z = (float(v) for v in volume.to_patient((30, 36, 40)))
    seen = Seen(spotted, [nodule((x, y, z), 0.8)], (), {})
    assert len(told(replace(seen, nodules=[]), volume, catalogue, 0.3)) == 2
    assert len(told(seen, volume, catalogue, 0.3)) == 2


def test_an_electrode_beside_the_body_is_no_lesion(catalogue: Catalogue) -> None:
    volume = block()
    volume.voxels[:, :24] = -1000
    volume.voxels[26:34, 8:16, 36:44] = 400
    inside, beside = ((30, 48, 40), 20.0, 3), ((30, 12, 40), 20.0, 4)
    network = catalogue.find(NAME)
    body = body_on_grid(volume, network.card)
    assert body.shape[1] >= 60
    assert len(spot(body, Spheres([inside, beside]), network.card)) == 2
    (kept,) = see(volume, Spheres([inside, beside]), catalogue).spotted
    assert volume.to_index(kept.candidate.center_mm)[1] > 30


def test_a_series_of_two_images_is_refused_in_a_sentence(catalogue: Catalogue) -> None:
    with pytest.raises(UnreadableSeriesError, match="the search for lesions needs 3 images"):
        read(block((2, 40, 40)), Spheres([]), catalogue)


def test_what_lung_nodules_reports_is_left_out(network: CataloguedModel) -> None:
    volume = block()
    spheres = [((30, 20, 30), 20.0, 4), ((30, 50, 41), 20.0, 3)]
    spotted = spot(body_on_grid(volume, network.card), Spheres(spheres), network.card)
    one, other = drawn(spotted, volume, network.card, 0.5)
    reading = Reading(NAME, "1.2", (network.identity,), (one, other), resolved=(one, other))
    nodules = replace(reading, reader="lung-nodules", findings=(one,), resolved=(other,))
    assert left_to([reading], reading) is reading
    assert left_to([replace(nodules, findings=(), resolved=())], reading) is reading
    left = left_to([reading, nodules], reading)
    assert (left.findings, left.resolved, left.left_to) == ((other,), (one,), ("lung-nodules",))
    assert left_to([reading], nodules) is nodules


def test_a_response_of_lesions_that_are_left_out_is_not_given(network: CataloguedModel) -> None:
    volume = block()
    spotted = spot(body_on_grid(volume, network.card), Spheres([((30, 20, 30), 20.0, 4)]), network.card)
    findings = tuple(drawn(spotted, volume, network.card, 0.5))
    response = Response("RECIST 1.1", "PD", "", 20.0, 20.0, 30.0)
    reading = Reading(NAME, "1.2", (network.identity,), findings, response=response)
    assert left_to([reading], reading).response is response
    assert left_to([replace(reading, reader="lung-nodules")], reading).response is None


def test_masks_are_compared_where_they_meet() -> None:
    whole = np.zeros((8, 8, 8), bool)
    one, other = whole.copy(), whole.copy()
    one[1:5, 1:5, 1:5] = True
    other[3:5, 1:5, 1:5] = True
    assert shared_voxels(cropped(one), cropped(other)) == 32
    assert overlap(cropped(one), cropped(other)) == 1
    assert dice(cropped(one), cropped(other)) == pytest.approx(64 / 96)
    assert shared_voxels(cropped(one), cropped(other, origin=(40, 0, 0))) == 0
