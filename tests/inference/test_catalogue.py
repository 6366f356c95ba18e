"""The catalogue reads what is sound and says plainly what is not."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from inference.card import Intensity
from inference.catalogue import SHIPPED_MODELS, Catalogue, CatalogueError
from inference.engine.embedded import EmbeddedEngine
from inference.parity import verify
from tests.tiny_models import make_repository, random_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "models")


def edit(root: Path, model: str, **changes: object) -> None:
    path = root / model / "model.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_every_folder_with_a_card_is_a_model(root: Path) -> None:
    (root / "notes").mkdir()
    catalogue = Catalogue(root)
    assert catalogue.names == ("grades", "spots")
    assert [model.card.task for model in catalogue] == ["Grades a picture", "Finds spots in a volume"]
    assert catalogue.problems() == []


def test_a_model_says_what_a_reading_records_of_it(root: Path) -> None:
    model = Catalogue(root).find("spots")
    assert (model.identity.name, model.identity.version) == ("spots", "1")
    assert model.identity.sha256 == model.card.sha256
    assert model.card.threshold("detection") == 0.4
    assert model.card.input("image").spacing_mm == (1.5, 1.5, 1.5)
    assert model.card.output("peaks").stride == 2


def test_an_unknown_model_is_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(CatalogueError, match="no model 'nodules'; there are: grades, spots"):
        Catalogue(root).find("nodules")


def test_a_missing_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no such folder of models"):
        Catalogue(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"thresold": 0.5}, "thresold: Extra inputs are not permitted"),
        ({"version": "latest"}, r"version: Input should be a valid integer.*'latest'"),
        ({"sha256": "abc"}, "sha256: String should match pattern"),
        ({"name": "other"}, "name is 'other' but the folder is 'spots'"),
        ({"limits": []}, "limits: Tuple should have at least 1 item"),
        ({"inputs": [{"tensor": "image", "dims": [-1, 0]}]}, "each must be -1"),
        ({"inputs": [{"tensor": "image", "dims": [-1, 1], "multiple_of": [8]}]}, "multiple_of has 1 entries"),
        ({"inputs": [{"tensor": "peaks", "dims": [-1]}]}, "used twice: peaks"),
        (
            {
                "inputs": [
                    {"tensor": "i", "dims": [-1, 4], "shapes": {"min": [1, 4], "opt": [1, 5], "max": [1, 4]}}
                ]
            },
            "shapes.opt: axis 1 is 5",
        ),
        (
            {"batching": {"max": 4}, "outputs": [{"tensor": "y", "kind": "mask", "dims": [1]}]},
            "first of dims",
        ),
    ],
)
def test_an_unsound_card_is_refused_with_the_key_and_the_value(
    root: Path, changes: dict[str, object], complaint: str
) -> None:
    edit(root, "spots", **changes)
    catalogue = Catalogue(root)
    with pytest.raises(CatalogueError, match=rf"spots/model.yaml: .*{complaint}"):
        catalogue.find("spots")
    assert catalogue.find("grades").card.version == 1
    assert len(catalogue.problems()) == 1


def test_a_card_that_is_not_yaml_is_refused(root: Path) -> None:
    (root / "spots" / "model.yaml").write_text("name: [")
    with pytest.raises(CatalogueError, match="is not YAML"):
        Catalogue(root).find("spots")


def test_other_weights_than_the_card_names_are_refused(root: Path) -> None:
    weights = root / "spots" / "1" / "model.onnx"
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(CatalogueError, match="damaged or belong to another version"):
        Catalogue(root).find("spots").weights_bytes()
    assert "damaged" in Catalogue(root).problems()[0]


def test_missing_weights_are_named(root: Path) -> None:
    (root / "spots" / "1" / "model.onnx").unlink()
    with pytest.raises(CatalogueError, match=r"1/model.onnx: the weights of spots cannot be read"):
        Catalogue(root).find("spots").weights_bytes()


def test_parity_passes_for_every_output_of_sound_models(root: Path) -> None:
    catalogue = Catalogue(root)
    rows = list(verify(catalogue, EmbeddedEngine(catalogue, threads=1)))
    assert [(row.model, row.tensor, row.passed) for row in rows] == [
        ("grades", "grade", True),
        ("spots", "peaks", True),
        ("spots", "mask", True),
    ]


def test_parity_fails_where_an_output_has_moved(root: Path) -> None:
    path = root / "spots" / "parity.npz"
    recorded = dict(np.load(path))
    recorded["outputs/mask"][0, 0, 3, 4, 5] += 0.01
    np.savez(path, **recorded)
    catalogue = Catalogue(root)
    rows = {row.tensor: row for row in verify(catalogue, EmbeddedEngine(catalogue, threads=1))}
    assert not rows["mask"].passed
    assert rows["mask"].max_error == pytest.approx(0.01, rel=1e-3)
    assert rows["peaks"].passed


def test_parity_names_a_model_that_cannot_run(root: Path) -> None:
    (root / "spots" / "parity.npz").unlink()
    catalogue = Catalogue(root)
    row = list(verify(catalogue, EmbeddedEngine(catalogue, threads=1)))[-1]
    assert not row.passed
    assert "parity sample cannot be read" in row.problem


def test_intensity_clips_then_scales_and_leaves_the_input_alone() -> None:
    values = np.array([-2000, -1000, 50, 400, 3000], np.int16)
    scaled = Intensity(clip=(-1000, 400), subtract=-300, divide=700).applied_to(values)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [-1, -1, 0.5, 1, 1])
    assert values.max() == 3000


def test_a_shape_that_does_not_fit_is_explained(root: Path) -> None:
    image = Catalogue(root).find("spots").card.input("image")
    assert image.misfit(random_image((1, 1, 4, 4, 4)).shape) is None
    assert image.misfit((1, 1, 4, 4)) == "shape [1, 1, 4, 4] where the network takes [-1, 1, -1, -1, -1]"
    assert "row is 5" in str(image.misfit((1, 1, 4, 5, 4)))
    assert "pad it to a multiple of 2" in str(image.misfit((1, 1, 4, 5, 4)))
    assert "channel is 3" in str(image.misfit((1, 3, 4, 4, 4)))


def test_the_shipped_models_are_sound_and_answer_as_recorded() -> None:
    catalogue = Catalogue()
    assert catalogue.root == SHIPPED_MODELS
    if not catalogue.names:
        pytest.skip("triton_models/ holds no model yet")
    assert catalogue.problems() == []
    assert [row for row in verify(catalogue, EmbeddedEngine(catalogue)) if not row.passed] == []
