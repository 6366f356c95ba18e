"""A plan is built from its card, promoted only when it answers as recorded, and can be taken back."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from inference.catalogue import SHIPPED_MODELS, Catalogue, CataloguedModel
from inference.engine.embedded import EmbeddedEngine
from inference.parity import ParityRow
from inference.plans.build import build_plan
from inference.plans.errors import PlanError
from inference.plans.service import promote, read_manifest, roll_back
from inference.plans.stage import half_precision, prove_on_cpu, stage
from tests.programs import absent
from tests.tiny_models import make_repository, random_image, spots_card, spots_network, write_model
from tests.triton.server import TENSORRT_RTX


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    root = make_repository(tmp_path / "models")
    for name in ("spots", "grades"):
        path = root / name / "model.yaml"
        card = yaml.safe_load(path.read_text())
        card["parity"] = {"half": {"absolute": 5e-3, "relative": 5e-3}}
        path.write_text(yaml.safe_dump(card))
    return Catalogue(root)


@pytest.fixture(scope="module")
def tensorrt_rtx() -> ModuleType:
    if not TENSORRT_RTX.is_dir():
        absent(f"no TensorRT-RTX in {TENSORRT_RTX}: make triton-test-server")
    sys.path.append(str(TENSORRT_RTX))
    return importlib.import_module("tensorrt_rtx")


def passed(model: CataloguedModel) -> list[ParityRow]:
    return [ParityRow(model.card.name, t.tensor, 1e-5, 0.1, 0.0) for t in model.card.outputs]


def put(model: CataloguedModel, plan: bytes, proof: list[ParityRow] | None = None) -> Path:
    return promote(
        model,
        plan,
        precision="fp16",
        tensorrt="11.0",
        compute_capability="9.0",
        proof=passed(model) if proof is None else proof,
    )


def test_half_precision_keeps_the_tensors_and_stays_within_the_card(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    model = catalogue.find("spots")
    staged = stage(model, "fp16", tmp_path / "staged")
    weights = onnx.load(staged.find("spots").weights)
    assert {w.data_type for w in weights.graph.initializer} == {TensorProto.FLOAT16}
    rows = prove_on_cpu(staged, "fp16")
    assert [row.tensor for row in rows] == ["peaks", "mask"]
    assert all(row.passed for row in rows)
    assert max(row.max_error for row in rows) > 1e-6
    image = random_image((1, 1, 8, 8, 8))
    half = EmbeddedEngine(staged, 1).infer("spots", {"image": image})
    full = EmbeddedEngine(catalogue, 1).infer("spots", {"image": image})
    assert half["mask"].dtype == full["mask"].dtype == np.float32


def test_full_precision_is_staged_unchanged_with_its_configurations(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    model = catalogue.find("spots")
    staged = stage(model, "fp32", tmp_path / "staged")
    assert staged.find("spots").card == model.card
    assert (tmp_path / "staged" / "spots" / "configs" / "tensorrt.pbtxt").exists()
    assert all(row.passed for row in prove_on_cpu(staged, "fp32"))


def test_half_precision_needs_the_cards_consent(tmp_path: Path) -> None:
    model = Catalogue(make_repository(tmp_path / "models")).find("spots")
    with pytest.raises(PlanError, match=r"spots: its model\.yaml has no parity\.half"):
        stage(model, "fp16", tmp_path / "staged")


def test_half_precision_that_changes_too_much_is_found_on_the_cpu(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    path = catalogue.root / "spots" / "model.yaml"
    card = yaml.safe_load(path.read_text())
    card["parity"] = {"half": {"absolute": 1e-7, "relative": 0}}
    path.write_text(yaml.safe_dump(card))
    rows = prove_on_cpu(stage(catalogue.find("spots"), "fp16", tmp_path / "staged"), "fp16")
    assert not any(row.passed for row in rows)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["spots", "grades"])
def test_tensorrt_builds_a_network_for_the_shapes_of_its_card(
    catalogue: Catalogue, tensorrt_rtx: ModuleType, name: str, precision: str, tmp_path: Path
) -> None:
    staged = stage(catalogue.find(name), precision, tmp_path / "staged")  # type: ignore[arg-type]
    model = staged.find(name)
    assert len(build_plan(tensorrt_rtx, model.card, model.weights_bytes())) > 10_000


def test_what_tensorrt_cannot_build_is_told_with_its_reason(tmp_path: Path, tensorrt_rtx: ModuleType) -> None:
    graph = helper.make_graph(
        [helper.make_node("StringNormalizer", ["image"], ["grade"])],
        "strange",
        [helper.make_tensor_value_info("image", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("grade", TensorProto.STRING, [1])],
    )
    weights = helper.make_model(graph).SerializeToString()
    card = Catalogue(make_repository(tmp_path / "models")).find("grades").card
    with pytest.raises(PlanError, match=r"grades: TensorRT .* cannot parse the network: .+"):
        build_plan(tensorrt_rtx, card, weights)


def test_a_network_of_any_size_needs_shapes_in_its_card(tmp_path: Path, tensorrt_rtx: ModuleType) -> None:
    card = spots_card()
    del card["inputs"][0]["shapes"]
    write_model(tmp_path, spots_network(), card, (1, 1, 4, 4, 4))
    model = Catalogue(tmp_path).find("spots")
    with pytest.raises(PlanError, match=r"input image has lengths of -1 and no shapes"):
        build_plan(tensorrt_rtx, model.card, model.weights_bytes())


@pytest.mark.parametrize("name", Catalogue(SHIPPED_MODELS).names)
def test_tensorrt_builds_every_shipped_model_in_either_precision(tensorrt_rtx: ModuleType, name: str) -> None:
    model = Catalogue().find(name)
    weights = model.weights_bytes()
    assert build_plan(tensorrt_rtx, model.card, weights)
    assert build_plan(tensorrt_rtx, model.card, half_precision(weights))


def test_half_precision_stays_within_the_cards_that_allow_it(tmp_path: Path) -> None:
    for model in (m for m in Catalogue() if m.card.parity.half):
        staged = stage(model, "fp16", tmp_path / model.card.name)
        assert [row for row in prove_on_cpu(staged, "fp16") if not row.passed] == []


def test_a_proven_plan_is_put_beside_the_weights_with_how_it_was_made(catalogue: Catalogue) -> None:
    model = catalogue.find("spots")
    path = put(model, b"first")
    assert path == model.folder / "1" / "sm90.plan"
    assert path.read_bytes() == b"first"
    manifest = read_manifest(path)
    assert (manifest.onnx_sha256, manifest.tensorrt) == (model.card.sha256, "11.0")
    assert (manifest.precision, manifest.compute_capability) == ("fp16", "9.0")
    assert manifest.differences == {"peaks": 1e-5, "mask": 1e-5}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ParityRow("spots", "mask", 0.5, 7.25, 0.0), r"mask: 7\.2 times the allowed difference"),
        (ParityRow("spots", "mask", 0.0, 0.0, 0.0, "no answer"), "mask: no answer"),
        (None, "mask: not proven"),
    ],
)
def test_an_unproven_plan_changes_nothing(catalogue: Catalogue, row: ParityRow | None, reason: str) -> None:
    model = catalogue.find("spots")
    path = put(model, b"first")
    proof = [passed(model)[0], *([row] if row else [])]
    with pytest.raises(PlanError, match=f"spots: the plan is not promoted: {reason}"):
        put(model, b"second", proof)
    assert path.read_bytes() == b"first"
    assert not list(path.parent.glob("*.previous.*"))


def test_the_plan_before_can_be_put_back_once(catalogue: Catalogue) -> None:
    model = catalogue.find("spots")
    put(model, b"first")
    path = put(model, b"second")
    assert path.read_bytes() == b"second"
    assert roll_back(model, "9.0") == path
    assert path.read_bytes() == b"first"
    first = json.loads(path.with_suffix(".json").read_text())
    assert first["plan_sha256"] == read_manifest(path).plan_sha256
    with pytest.raises(PlanError, match="no earlier plan to go back to"):
        roll_back(model, "9.0")


def test_each_kind_of_gpu_has_its_own_plan(catalogue: Catalogue) -> None:
    model = catalogue.find("spots")
    put(model, b"for 9.0")
    with pytest.raises(PlanError, match=r"sm86\.plan: there is no earlier plan"):
        roll_back(model, "8.6")
