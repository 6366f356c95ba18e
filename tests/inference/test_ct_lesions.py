"""The ct-lesions reader: what it makes of its networks' words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from inference.catalogue import Catalogue, CataloguedModel
from inference.engine import Tensors
from inference.errors import UnreadableSeriesError
from inference.findings import Finding, Point, Reading, Response
from inference.masks import dice, overlap, shared_voxels
from inference.readers import READERS, left_to
from inference.readers.candidates import Candidate
from inference.readers.ct_lesions import CHARACTERISER, NAME, Mark, Seen, likeliest, read, see, told
from inference.readers.lung_nodules import Judged
from inference.readers.whole_volume import body_on_grid
from inference.resample import cropped
from inference.volume import Volume
from training.ct_lesions import cards

GREY, BRIGHT = 40, 140


CANDIDATE, REPORT = {"candidate": {"threshold": 0.08}}, {"report": {"threshold": 0.5}}


def catalogue_of(root: Path, *models: dict[str, Any]) -> Catalogue:
    """What stands in for weights is never run here."""
    for body in models:
        weights = root / body["name"] / "1" / "model.onnx"
        weights.parent.mkdir(parents=True)
        weights.write_bytes(b"")
        card = body | {"sha256": hashlib.sha256(b"").hexdigest()}
        (root / body["name"] / "model.yaml").write_text(yaml.safe_dump(card))
    return Catalogue(root)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The cards that training writes."""
    both = cards.detector_card(1, CANDIDATE, [], []), cards.characteriser_card(1, REPORT, [], [])
    return catalogue_of(tmp_path_factory.mktemp("models"), *both)


@pytest.fixture(scope="module")
def network(catalogue: Catalogue) -> CataloguedModel:
    return catalogue.find(NAME)


Sphere = tuple[Point, float]
"""Centre (slice, row, column) in the volume that the network is given, and diameter in mm."""


class Sharp:
    """Answers as perfect networks would: the first knows where the spheres are, the second sees a lesion of
    the liver where the middle of its crop is bright, and draws what is."""

    at_once = 1

    def __init__(self, spheres: Sequence[Sphere]) -> None:
        self.spheres = spheres
        self.crops = 0

    def infer(self, model: str, inputs: Tensors) -> Tensors:
        if model == CHARACTERISER:
            return self.judged(inputs["close"][:, 0])
        coarse = np.indices([n // 2 for n in inputs["volume"].shape[2:]]) * 2 + 0.5
        heat = np.zeros(coarse.shape[1:], np.float32)
        sizes = np.full(coarse.shape[1:], 5, np.float32)
        inside = np.zeros(inputs["volume"].shape[2:], np.float32)
        for center, diameter in self.spheres:
            away = 2 * np.sqrt(((coarse - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0))
            heat = np.maximum(heat, 0.9 * np.exp(-((away / 4) ** 2))).astype(np.float32)
            sizes[away < diameter / 2] = diameter
            far = 2 * np.linalg.norm(np.indices(inside.shape).T - np.array(center), axis=-1).T
            inside[far < diameter / 2] = 0.9
        maps = {"heatmap": heat, "diameter_mm": sizes, "inside": inside}
        return {name: values[None, None] for name, values in maps.items()}

    def judged(self, close: np.ndarray) -> Tensors:
        self.crops += len(close)
        mask = np.clip((close - GREY / 1000) / ((BRIGHT - GREY) / 1000), 0, 1)
        middle = mask[:, 7:9, 19:21, 19:21].mean((1, 2, 3))[:, None].astype(np.float32)
        site = np.zeros((len(close), 8), np.float32)
        site[:, 3] = 1
        return {
            "mask": mask[:, None].astype(np.float32),
            "lesion": 0.9 * middle,
            "malignancy": np.full_like(middle, 0.25),
            "site": site,
        }

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


def with_spheres(volume: Volume, spheres: Sequence[Sphere]) -> Volume:
    """The same with bright spheres in it."""
    for center, diameter in spheres:
        away = np.linalg.norm(np.indices(volume.shape).T - np.array(center), axis=-1).T
        volume.voxels[away * volume.spacing_mm[0] < diameter / 2] = BRIGHT
    return volume


def test_a_sphere_is_measured_and_its_site_coded(catalogue: Catalogue) -> None:
    spheres = [((30.0, 36.0, 40.0), 24.0)]
    volume = with_spheres(block(), spheres)
    (found,) = read(volume, Sharp(spheres), catalogue).findings
    assert np.linalg.norm(np.subtract(found.center_mm, volume.to_patient((30, 36, 40)))) < 0.5
    assert found.long_axis_mm == pytest.approx(24, abs=2.5)
    assert found.short_axis_mm == pytest.approx(24, abs=2.5)
    assert found.volume_mm3 == pytest.approx(np.pi / 6 * 24**3, rel=0.1)
    assert found.mean_hu == pytest.approx(BRIGHT, abs=5)
    assert found.malignancy == pytest.approx(0.25)
    assert found.site is not None
    assert (found.kind, found.site.value, found.site.meaning) == ("liver", "10200004", "Liver")


def test_weights_that_do_not_tell_malignancy_give_lesions_without_a_suspicion(tmp_path: Path) -> None:
    second = cards.characteriser_card(1, REPORT, [], [])
    second["outputs"] = [output for output in second["outputs"] if output["tensor"] != "malignancy"]
    catalogue = catalogue_of(tmp_path, cards.detector_card(1, CANDIDATE, [], []), second)
    spheres = [((30.0, 36.0, 40.0), 24.0)]
    (found,) = read(with_spheres(block(), spheres), Sharp(spheres), catalogue).findings
    assert found.malignancy is None


def test_where_the_first_network_saw_nothing_but_tissue_nothing_is_reported(catalogue: Catalogue) -> None:
    spheres = [((30.0, 36.0, 20.0), 20.0)]
    assert read(block(), Sharp(spheres), catalogue).findings == ()


def test_a_mark_beside_the_middle_and_too_small_is_looked_at_again(catalogue: Catalogue) -> None:
    volume = with_spheres(block(), [((30, 36, 40), 40.0)])
    engine = Sharp([((30.0, 36.0, 44.0), 12.0)])
    (found,) = see(volume, engine, catalogue).judged
    assert engine.crops == 2
    assert found.mark.candidate.diameter_mm == 12
    assert found.look.candidate.diameter_mm > 20
    assert volume.to_index(found.look.candidate.center_mm)[2] < 44
    well = Sharp([((30.0, 36.0, 40.0), 40.0)])
    see(volume, well, catalogue)
    assert well.crops == 1


def test_both_networks_have_a_say_in_what_a_lesion_is(catalogue: Catalogue) -> None:
    """With the weights of the card: the odds of the heat, the root of those of lying inside, the look's."""
    spheres = [((30.0, 36.0, 40.0), 24.0)]
    (found,) = see(with_spheres(block(), spheres), Sharp(spheres), catalogue).judged
    heat, inside = found.mark.candidate.score, found.mark.inside
    odds = heat / (1 - heat) * (inside / (1 - inside)) ** 0.5 * 9
    assert 0.8 < inside <= 0.9
    assert found.score == pytest.approx(odds / (1 + odds))


def test_only_the_likeliest_marks_are_looked_at(catalogue: Catalogue) -> None:
    card = catalogue.find(CHARACTERISER).card
    places = [Candidate((float(n), 0.0, 0.0), 10.0, 0.3) for n in range(60)]
    marked = [Mark(place, inside=0.8 if number >= 50 else 0.1) for number, place in enumerate(places)]
    kept = likeliest(marked, card)
    assert len(kept) == card.postprocess["most_looks"] == 32
    assert [mark.candidate for mark in kept[:10]] == places[50:]


def test_a_long_volume_is_read_in_slabs_without_a_seam(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = with_spheres(block((260, 40, 40)), [((100, 20, 20), 24.0)])
    monkeypatch.setattr("inference.readers.candidates._MOST_VOXELS", 40 * 40 * 192)

    class Looking(Sharp):
        """Sees the sphere where the scan is bright, wherever the slab begins."""

        def infer(self, model: str, inputs: Tensors) -> Tensors:
            if model == NAME:
                bright = np.argwhere(inputs["volume"][0, 0] > (GREY + BRIGHT) / 2000)
                self.spheres = [(tuple(bright.mean(0)), 24.0)] if len(bright) > 100 else []
            return super().infer(model, inputs)

    (found,) = read(volume, Looking([]), catalogue).findings
    assert found.volume_mm3 == pytest.approx(np.pi / 6 * 24**3, rel=0.1)


def test_a_reading_names_its_networks_and_its_findings_come_surest_first(catalogue: Catalogue) -> None:
    spheres = [((30.0, 20.0, 30.0), 20.0), ((30.0, 50.0, 41.0), 20.0)]
    volume = with_spheres(block(), spheres)
    reading = read(volume, Sharp(spheres), catalogue)
    assert READERS[NAME].models == tuple(model.name for model in reading.models)
    scores = [f.score for f in reading.findings]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    assert read(volume, Sharp(spheres), catalogue).findings == reading.findings


def nodule(center: Point, certainty: float, diameter_mm: float = 20.0) -> Judged:
    """As the networks for the lungs see it."""
    away = np.linalg.norm(np.indices((12, 40, 40)).T - np.array([5.5, 19.5, 19.5]), axis=-1).T
    mask = np.clip(0.5 + (diameter_mm / 4 - away) / 2, 0, 1).astype(np.float32)
    return Judged(Candidate(center, diameter_mm, certainty), (2.0, 2.0, 2.0), mask, certainty, 0.75, "solid")


def test_a_nodule_joins_as_a_lesion_of_the_lung_that_is_reported() -> None:
    volume, catalogue = block(), Catalogue()
    report = catalogue.find(CHARACTERISER).card.threshold("report")
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
    speck = replace(seen, nodules=[nodule((x, y, z), 0.8, 4.0)])
    assert told(speck, volume, catalogue, report) == []


def test_what_both_have_drawn_is_told_once(catalogue: Catalogue) -> None:
    spheres = [((30.0, 36.0, 40.0), 20.0), ((30.0, 36.0, 66.0), 20.0)]
    volume, shipped = with_spheres(block(), spheres), Catalogue()
    seen = see(volume, Sharp(spheres), catalogue)
    x, y, z = (float(v) for v in volume.to_patient((30, 36, 40)))
    assert len(told(seen, volume, catalogue, 0.3)) == 2
    assert len(told(replace(seen, nodules=[nodule((x, y, z), 0.8)]), volume, shipped, 0.3)) == 2


def test_an_electrode_beside_the_body_is_no_lesion(catalogue: Catalogue) -> None:
    inside, beside = ((30.0, 48.0, 40.0), 20.0), ((30.0, 12.0, 40.0), 20.0)
    volume = block()
    volume.voxels[:, :24] = -1000
    volume = with_spheres(volume, [inside])
    volume.voxels[26:34, 8:16, 36:44] = 400
    body = body_on_grid(volume, catalogue.find(NAME).card)
    assert body.shape[1] >= 60
    (kept,) = see(volume, Sharp([inside, beside]), catalogue).judged
    assert volume.to_index(kept.mark.candidate.center_mm)[1] > 30


def test_a_series_of_two_images_is_refused_in_a_sentence(catalogue: Catalogue) -> None:
    with pytest.raises(UnreadableSeriesError, match="the search for lesions needs 3 images"):
        read(block((2, 40, 40)), Sharp([]), catalogue)


def findings_of(spheres: Sequence[Sphere], catalogue: Catalogue) -> tuple[Finding, ...]:
    return read(with_spheres(block(), spheres), Sharp(spheres), catalogue).findings


def test_what_lung_nodules_reports_is_left_out(catalogue: Catalogue, network: CataloguedModel) -> None:
    one, other = findings_of([((30.0, 20.0, 30.0), 20.0), ((30.0, 50.0, 41.0), 20.0)], catalogue)
    reading = Reading(NAME, "1.2", (network.identity,), (one, other), resolved=(one, other))
    nodules = replace(reading, reader="lung-nodules", findings=(one,), resolved=(other,))
    assert left_to([reading], reading) is reading
    assert left_to([replace(nodules, findings=(), resolved=())], reading) is reading
    left = left_to([reading, nodules], reading)
    assert (left.findings, left.resolved, left.left_to) == ((other,), (one,), ("lung-nodules",))
    assert left_to([reading], nodules) is nodules


def test_a_response_of_lesions_that_are_left_out_is_not_given(
    catalogue: Catalogue, network: CataloguedModel
) -> None:
    findings = findings_of([((30.0, 20.0, 30.0), 20.0)], catalogue)
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
