"""The network for hot spots: from a release of PET/CTs to a model that is read with and measured."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydicom import dcmread
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from inference.catalogue import SHIPPED_MODELS, Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.hot_spots import hot_spots
from inference.parity import verify
from inference.pet_ct import load_pet_ct
from inference.readers.pet_ct import HISTOLOGY, HOT_SPOTS, read
from inference.registration.transform import Registration
from inference.volume import Volume
from tests.training.lung_pet_ct_dx import FAINT, NODE, TUMOUR, write_patient
from training import run
from training.datasets.pet_ct_studies import PetCtStudy, PlacedBox, read_pet_ct_studies
from training.datasets.splits import write_splits
from training.errors import BrokenDataError
from training.evaluate.lung_pet_ct_dx import evaluate_marked
from training.loop import Schedule
from training.pet_ct import recipe
from training.pet_ct.cards import hot_spots_card, learned_data
from training.pet_ct.marked import OPEN, Marked, kinds_of, marked
from training.pet_ct.network import (
    BATCH,
    HotSpotNetwork,
    HotSpotsForService,
    SpotSource,
    load_judging,
    train_hot_spots,
)
from training.pet_ct.recipe import Plan, export, train
from training.pet_ct.spots import BENIGN, HISTOLOGIES, MALIGNANT, PHYSIOLOGICAL, Spots
from training.pet_ct.start import weights_of
from training.phantoms.dicom import uid
from training.shipped import learned_before
from training.strict_json import dumps

SPLITS = {"train": ["A0001", "G0001", "B0005"], "validation": ["A0005"], "test": ["B0001", "E0006"]}
NO_DOSE, NO_PET = "A0002", "A0003"
PLAN = Plan(patients=20, schedule=Schedule(steps=2, validate_every=2))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients with a tumour that is boxed, a node that is not, and something faint; a PET without the
    dose, and a CT alone."""
    folder = tmp_path_factory.mktemp("release")
    for name in (*(name for names in SPLITS.values() for name in names), NO_DOSE):
        home = write_patient(folder, name)
    for path in home.glob("*-PET/*.dcm"):
        image = dcmread(path)
        image.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = None
        image.save_as(path)
    write_patient(folder, NO_PET, with_pet=False)
    return folder


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """No models: PET and CT lie as the scanner placed them."""
    return Catalogue(tmp_path_factory.mktemp("no models"))


def phantom_spots(out: Path) -> None:
    """Two files of what phantom patients show, as an earlier run would have left them."""
    rng = np.random.default_rng(5)
    (out / "spots").mkdir(parents=True)
    for first in (0, 10):
        spots = spots_of(rng, np.arange(12) % 3, patient=first)
        np.savez(out / "spots" / f"patients-{first}.npz", **spots.__dict__)


def spots_of(rng: np.random.Generator, kind: np.ndarray, *, patient: int, histology: int = -1) -> Spots:
    n = len(kind)
    size = (n, 32, 32, 32)
    return Spots(
        rng.uniform(0, 8, size).astype(np.float16),
        rng.uniform(-100, 100, size).astype(np.float16),
        rng.integers(0, 256, size).astype(np.uint8),
        kind,
        np.where((kind == PHYSIOLOGICAL) | (histology >= 0), -1, 0),
        np.where(kind == MALIGNANT, histology, -1),
        np.full(n, patient),
    )


@pytest.fixture(scope="module")
def trained(release: Path, nothing: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps."""
    out = tmp_path_factory.mktemp("run")
    phantom_spots(out)
    train(out, PLAN, release, nothing)
    return out


def studies(release: Path) -> dict[str, PetCtStudy]:
    return {study.patient: study for study in read_pet_ct_studies(release).studies}


def known_of(one: Marked) -> dict[str, int]:
    """What is known of the spots that show each sphere."""
    found = {}
    for name, sphere in (("tumour", TUMOUR), ("node", NODE), ("faint", FAINT)):
        at = [np.linalg.norm(one.pet.to_patient(s.peak) - sphere.center_mm) < 16 for s in one.spots]
        assert sum(at) == 1, name
        found[name] = one.kinds[at.index(True)]
    return found


def test_what_a_box_marks_is_cancer_and_what_nobody_marked_is_open_unless_faint(
    release: Path, nothing: Catalogue
) -> None:
    one = marked(studies(release)["Lung_Dx-A0001"], EmbeddedEngine(nothing), nothing)
    assert known_of(one) == {"tumour": MALIGNANT, "node": OPEN, "faint": PHYSIOLOGICAL}


def test_nothing_is_known_to_be_faint_beside_a_tumour_that_is_faint_itself(
    tmp_path: Path, nothing: Catalogue
) -> None:
    write_patient(tmp_path, "A0001", (replace(TUMOUR, suv=5.0), NODE, FAINT))
    one = marked(studies(tmp_path)["Lung_Dx-A0001"], EmbeddedEngine(nothing), nothing)
    assert known_of(one) == {"tumour": MALIGNANT, "node": OPEN, "faint": OPEN}


def test_what_lies_far_below_the_lungs_and_in_no_bone_is_not_cancer() -> None:
    """Nor is it known of the same nearer to them, or in bone."""
    shape, mm = (90, 30, 30), 6.0
    affine = np.diag([mm, mm, mm, 1.0])[[2, 1, 0, 3]]
    suv, hu = np.full(shape, 0.8, np.float32), np.full(shape, 20.0, np.float32)
    hu[55:85, 8:22, 4:12] = hu[55:85, 8:22, 18:26] = -800
    hot = {"remote": (20, 10, 10), "bone": (20, 20, 20), "near": (45, 10, 10), "tumour": (75, 15, 8)}
    for name, (z, y, x) in hot.items():
        box = (slice(z - 2, z + 3), slice(y - 2, y + 3), slice(x - 2, x + 3))
        suv[box] = 9.0
        hu[box] = 400 if name == "bone" else 30
    pet, ct = (Volume(voxels, affine, "", "", (None,) * len(voxels)) for voxels in (suv, hu))
    spots = hot_spots(pet, least_suv=2.2, least_ml=0.3, most=20)
    center = tuple(mm * k for k in reversed(hot["tumour"]))
    boxed = PlacedBox(center, ((1, 0, 0), (0, 1, 0), (0, 0, 1)), (15.0, 15.0, 15.0))
    kinds = kinds_of(spots, pet, ct, Registration.identity(""), [boxed])
    near = {
        name: min(range(4), key=lambda k: abs(np.subtract(spots[k].peak, at)).sum())
        for name, at in hot.items()
    }
    known = {name: kinds[number] for name, number in near.items()}
    assert known == {"remote": PHYSIOLOGICAL, "bone": OPEN, "near": OPEN, "tumour": MALIGNANT}


def test_pixels_that_cannot_be_read_are_named(tmp_path: Path, nothing: Catalogue) -> None:
    write_patient(tmp_path, "A0001")
    path = sorted(tmp_path.rglob("*-PET/*.dcm"))[2]
    path.write_bytes(path.read_bytes()[:-100])
    (study,) = read_pet_ct_studies(tmp_path).studies
    with pytest.raises(BrokenDataError, match=r"000000-PET is no readable series: .*IM00003\.dcm"):
        marked(study, EmbeddedEngine(nothing), nothing)


def test_a_run_ends_in_a_model_that_says_histologies_and_answers_as_recorded(trained: Path) -> None:
    catalogue = Catalogue(trained / "models")
    rows = verify(catalogue, EmbeddedEngine(catalogue))
    assert rows and all(row.passed for row in rows), rows
    card = catalogue.find(HOT_SPOTS).card
    codes = {label.label: (label.scheme, label.value) for label in card.output(HISTOLOGY).labels}
    assert codes == {
        "adenocarcinoma": ("SCT", "1187332001"),
        "small cell carcinoma": ("SCT", "74364000"),
        "large cell carcinoma": ("SCT", "22687000"),
        "squamous cell carcinoma": ("SCT", "1162767002"),
    }
    learned = {part.name: part for part in card.training_data}
    assert learned["lung-pet-ct-dx"].kind == "real" and learned["PET/CT phantoms"].cases == 20
    assert not any("no real patient" in limit or "no histology" in limit for limit in card.limits)
    assert card.training_command == "overread train pet-ct --layout lung-pet-ct-dx --data DIR"


def test_the_codes_are_those_of_the_standard(trained: Path) -> None:
    """Of PS3.16 CID 639, as pydicom has it."""
    named = {name: next(iter(concepts["SCT"][name])) for name in cid_concepts[639]["SCT"]}
    for label in Catalogue(trained / "models").find(HOT_SPOTS).card.output(HISTOLOGY).labels:
        assert named[label.meaning.title().replace(" ", "")] == label.value


def test_patients_of_the_split_train_alone_are_learned_from(trained: Path) -> None:
    splits = json.loads((trained / "splits.json").read_text())
    wanted = {split: sorted(f"Lung_Dx-{name}" for name in names) for split, names in SPLITS.items()}
    wanted["train"] = sorted([*wanted["train"], f"Lung_Dx-{NO_DOSE}"])
    assert splits == wanted
    kept = {path.name.rsplit("-", 1)[0] for path in (trained / "spots").glob("Lung_Dx*")}
    assert kept == {f"Lung_Dx-{name}" for name in (*SPLITS["train"], *SPLITS["validation"])}
    learned = {part.name: part for part in Catalogue(trained / "models").find(HOT_SPOTS).card.training_data}
    assert learned["lung-pet-ct-dx"].cases == len(SPLITS["train"])


def test_what_is_left_out_is_told_with_its_reason(
    release: Path, nothing: Catalogue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "training"):
        recipe._real(release, tmp_path, nothing)
    said = "\n".join(caplog.messages)
    assert f"1 PET/CT left out (Lung_Dx-{NO_PET} {uid('study', NO_PET)}): no PET" in said
    assert (
        f"1 PET/CT left out (Lung_Dx-{NO_DOSE} {uid('study', NO_DOSE)}): RadionuclideTotalDose is missing"
        in said
    )


def test_a_run_on_other_data_does_not_go_on_with_this_one(trained: Path) -> None:
    with pytest.raises(BrokenDataError, match=r"checkpoint\.pt is of a run with another layout, data:"):
        train(trained, PLAN)


def test_data_without_a_hot_tumour_is_refused(tmp_path: Path, nothing: Catalogue) -> None:
    write_patient(tmp_path, "A0001", (replace(TUMOUR, suv=1.0), NODE))
    with pytest.raises(BrokenDataError, match="no PET/CT of the split train with a hot spot in a box"):
        train(tmp_path / "out", PLAN, tmp_path, nothing)


def test_half_of_a_batch_is_real_and_every_patient_comes_alike() -> None:
    rng = np.random.default_rng(1)
    phantoms = spots_of(rng, np.arange(9) % 3, patient=0)
    many = spots_of(rng, np.array([MALIGNANT] * 8 + [PHYSIOLOGICAL]), patient=1, histology=3)
    few = spots_of(rng, np.array([MALIGNANT]), patient=2, histology=1)
    source = SpotSource(phantoms, 1, Spots.joined([many, few]))
    *_, kind, site, histology = (torch.stack(part) for part in zip(*map(source, range(12)), strict=True))
    real = slice(BATCH // 2, None)
    assert (kind[:, real] == MALIGNANT).sum() == (kind[:, real] == PHYSIOLOGICAL).sum() == 12 * BATCH // 4
    assert (kind[:, : BATCH // 2] == BENIGN).any() and not (kind[:, real] == BENIGN).any()
    assert (site[:, real] == -1).all() and (histology[:, : BATCH // 2] == -1).all()
    assert float((histology == 1).sum() / (histology >= 0).sum()) == pytest.approx(0.5, abs=0.15)


def test_the_shipped_weights_can_be_gone_on_from_with_and_without_histologies() -> None:
    for typed in (True, False):
        weights = weights_of(SHIPPED_MODELS, "hot-spots", "relu", typed=typed)
        assert weights is not None
        network = HotSpotNetwork(typed=typed)
        load_judging(network, weights)
        assert torch.equal(network.head[3].weight, weights["head.3.weight"])


def test_weights_of_a_network_with_other_activations_are_refused(trained: Path) -> None:
    for start, said in ((SHIPPED_MODELS, "another network"), (trained, "trained with --activation relu")):
        with pytest.raises(BrokenDataError, match=said):
            weights_of(start, "hot-spots", "gelu", typed=True)


def test_a_head_for_histologies_comes_back_from_service_and_from_a_run(trained: Path) -> None:
    served = weights_of(trained / "models", "hot-spots", "relu", typed=True)
    run = weights_of(trained, "hot-spots", "relu", typed=True)
    assert served is not None and run is not None
    for name in ("types.3.weight", "types.3.bias", "head.3.weight"):
        assert torch.allclose(served[name], run[name], rtol=2**-10)  # as fine as a file's weights are


def test_a_run_starts_from_the_weights_of_another(trained: Path, tmp_path: Path) -> None:
    spots = spots_of(np.random.default_rng(2), np.arange(12) % 3, patient=0)
    start = weights_of(trained, "hot-spots", "relu", typed=False)
    schedule = Schedule(steps=1, learning_rate=1e-9)
    network, _ = train_hot_spots(spots, spots, tmp_path, schedule, start=start)
    before = torch.load(trained / "hot-spots" / "best.pt", weights_only=True)
    assert torch.allclose(network.body[0][0].weight, before["body.0.0.weight"], atol=1e-6)
    assert network.types is None, "phantoms have no histology"


def test_a_card_says_what_the_weights_had_learned_from_before(trained: Path) -> None:
    card = hot_spots_card(1, 0.5, 0.5, [*learned_data(20), *learned_before(trained, HOT_SPOTS)], [])
    (earlier,) = [part for part in card["training_data"] if part["kind"] == "real"]
    assert earlier["name"] == "lung-pet-ct-dx" and earlier["description"].endswith("these go on from)")
    assert card["training_command"] == "overread train pet-ct --layout phantom --from EARLIER"
    assert not any("no real patient" in limit for limit in card["limits"])
    assert [output["tensor"] for output in card["outputs"]] == ["kind", "site"]


@pytest.fixture(scope="module")
def saying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reports every hot spot, and of each says small cell carcinoma with 0.7."""
    torch.manual_seed(3)
    network = HotSpotNetwork(typed=True)
    assert network.types is not None
    with torch.no_grad():
        for head, bias in ((network.types[3], np.log([0.1, 0.7, 0.1, 0.1])), (network.head[3], np.zeros(7))):
            head.weight.zero_()
            head.bias.copy_(torch.tensor(bias))
        network.head[3].bias[MALIGNANT] = 2.0
    root = tmp_path_factory.mktemp("saying")
    export(HotSpotsForService(network), root, (0.3, 0.3), learned_data(1, "lung-pet-ct-dx", 1))
    return root


def test_a_cancer_carries_its_type_and_probability_where_the_model_says_one(
    release: Path, saying: Path
) -> None:
    catalogue = Catalogue(saying)
    study = studies(release)["Lung_Dx-A0001"]
    reading = read(load_pet_ct([*study.pet, *study.ct]), EmbeddedEngine(catalogue), catalogue)
    assert len(reading.findings) == 3
    for finding in reading.findings:
        (typed,) = finding.assessments
        assert (typed.guideline, typed.result) == ("Type of cancer", "small cell carcinoma")
        assert typed.statement == "Small cell carcinoma is the likeliest of 4 types (70 %)."


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """The shipped network for hot spots alone."""
    (tmp_path / HOT_SPOTS).symlink_to(SHIPPED_MODELS / HOT_SPOTS)
    return tmp_path


def test_the_shipped_model_says_no_type(release: Path, shipped: Path) -> None:
    catalogue = Catalogue(shipped)
    study = studies(release)["Lung_Dx-A0001"]
    reading = read(load_pet_ct([*study.pet, *study.ct]), EmbeddedEngine(catalogue), catalogue)
    assert reading.findings and not any(finding.assessments for finding in reading.findings)


def measured(release: Path, split: str, models: Path) -> dict[str, Any]:
    found = evaluate_marked(release, split, None, Catalogue(models))
    return dict(json.loads(dumps(found)))


@pytest.fixture(scope="module")
def figures(release: Path, saying: Path) -> dict[str, Any]:
    """Of all patients."""
    return measured(release, "", saying)


def test_a_model_is_measured_by_tumour_and_spot(figures: dict[str, Any]) -> None:
    found = figures
    assert (found["split"], found["patients"], found["tumours"]) == ("all", 6, 6)
    assert (found["hot_spots"], found["hot_spots_known"], found["hot_spots_boxed"]) == (18, 12, 6)
    assert found["tumour_sensitivity"] == found["tumours_hot"] == 1
    assert (found["marks_per_scan"], found["marks_on_no_box_per_scan"]) == (3, 2)
    assert found["cancer_auroc"] == 0.5, "it says the same of all"
    assert found["cancer_auroc_of_suv_alone"] == 1
    refused = "RadionuclideTotalDose is missing"
    assert sorted(reason[: len(refused)] for reason in found["left_out"]) == [refused, "no PET"]


def test_histology_is_measured_by_patient(figures: dict[str, Any]) -> None:
    found = figures
    assert found["histology_patients"] == 6 and found["histology_accuracy"] == pytest.approx(2 / 6)
    small = HISTOLOGIES.index("small cell carcinoma")
    confusion = np.array(found["histology_confusion"]["true_by_called"])
    assert confusion[:, small].tolist() == [2, 2, 1, 1] and confusion.sum() == 6


def test_a_split_holds_the_patients_that_training_left_alone(release: Path, saying: Path) -> None:
    found = measured(release, "test", saying)
    assert (found["patients"], found["tumours"], found["left_out"]) == (2, 2, {})


def test_a_split_is_the_one_that_the_run_wrote(release: Path, saying: Path, tmp_path: Path) -> None:
    patients = [f"Lung_Dx-{name}" for names in SPLITS.values() for name in names]
    write_splits(tmp_path / "splits.json", dict.fromkeys(patients, "train"))
    models = shutil.copytree(saying, tmp_path / "models")
    with pytest.raises(BrokenDataError, match="no PET/CT of the split test"):
        measured(release, "test", models)


def test_a_model_that_reports_nothing_finds_no_tumour(release: Path, saying: Path, tmp_path: Path) -> None:
    models = shutil.copytree(saying, tmp_path / "models")
    card = yaml.safe_load((models / HOT_SPOTS / "model.yaml").read_text())
    card["operating_points"]["report"]["threshold"] = 1.1
    (models / HOT_SPOTS / "model.yaml").write_text(yaml.safe_dump(card))
    found = measured(release, "test", models)
    assert (found["tumour_sensitivity"], found["tumours_hot"], found["marks_per_scan"]) == (0, 1, 0)


def test_of_a_model_that_says_no_type_none_is_measured(release: Path, shipped: Path) -> None:
    found = measured(release, "test", shipped)
    assert found["patients"] == 2 and not any(name.startswith("histology") for name in found)


def test_the_command_hands_on_the_data_and_the_weights_to_start_from(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match="Lung-PET-CT-Dx is missing"):
        run.train("pet-ct", tmp_path, "lung-pet-ct-dx", tmp_path / "out")
    with pytest.raises(BrokenDataError, match=r"hot-spots/best\.pt is missing"):
        run.train("pet-ct", tmp_path, "lung-pet-ct-dx", tmp_path / "out", start=tmp_path)
    with pytest.raises(BrokenDataError, match="Lung-PET-CT-Dx is missing"):
        run.evaluate("pet-ct", tmp_path, "lung-pet-ct-dx")
