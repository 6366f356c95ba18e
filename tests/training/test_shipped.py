"""Weights that come back out of ONNX files to go on from."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from inference.catalogue import SHIPPED_MODELS, Catalogue
from inference.readers.polyps import POLYPS
from node.commands.training import train as command
from training.begun import begin
from training.ct_lesions import cards as ct_cards
from training.ct_lesions import networks as ct
from training.ct_lesions.recipe import export_characteriser, export_detector
from training.errors import BrokenDataError
from training.lung_nodules import cards as lung_cards
from training.lung_nodules.export import CharacteriserForService, DetectorForService
from training.lung_nodules.export import export as export_lungs
from training.lung_nodules.networks import Characteriser, Detector
from training.polyps.network import PolypNetwork
from training.polyps.recipe import export as export_polyps
from training.segmenter import SegmenterForService
from training.shipped import Serve, earlier_weights, learned_before, recount, served_weights

NETWORKS: dict[str, tuple[type[nn.Module], Serve]] = {
    POLYPS: (PolypNetwork, SegmenterForService),
    lung_cards.DETECTOR: (Detector, DetectorForService),
    lung_cards.CHARACTERISER: (Characteriser, CharacteriserForService),
    ct_cards.NAME: (ct.LesionNet, ct.LesionNetForService),
    ct_cards.CHARACTERISER: (ct.Characteriser, ct.CharacteriserForService),
}


def inputs_of(name: str, seed: int) -> list[Tensor]:
    """As the network ``name`` takes them, small where it may be."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        POLYPS: [(2, 3, 32, 32)],
        lung_cards.DETECTOR: [(2, 1, 16, 16, 16)],
        lung_cards.CHARACTERISER: [(3, 1, 12, 40, 40), (3, 1)],
        ct_cards.NAME: [(2, 1, 16, 16, 16)],
        ct_cards.CHARACTERISER: [(3, 1, 16, 40, 40), (3, 1), (3, 1, 28, 28, 28)],
    }[name]
    return [torch.rand(shape, generator=generator) * 1.5 + 0.2 for shape in shapes]


def lived_in(name: str) -> nn.Module:
    """A network whose normalisations have counted, and scale and shift."""
    torch.manual_seed(7)
    network = NETWORKS[name][0]()
    with torch.no_grad():
        for norm in (m for m in network.modules() if hasattr(m, "running_mean")):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.3)
        network.train()(*inputs_of(name, 1))
    return network.eval()


def answers(network: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        out = network(*inputs)
    return [out] if isinstance(out, Tensor) else list(out)


def alike(one: nn.Module, other: nn.Module, inputs: Sequence[Tensor]) -> bool:
    pairs = zip(answers(one, inputs), answers(other, inputs), strict=True)
    return all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every network, exported as its recipe does, but not rounded."""
    root = tmp_path_factory.mktemp("models")
    lungs = lived_in(lung_cards.DETECTOR), lived_in(lung_cards.CHARACTERISER)
    data = {name: [{"name": "x", "kind": "phantom", "cases": 1}] for name in NETWORKS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.export._coarsen", lambda path: None)
        export_lungs(*lungs, root, version=1, data=data, metrics=[], command="")
        export_polyps(lived_in(POLYPS), root, phantoms=1)
        export_detector(lived_in(ct_cards.NAME), root, version=1, data=data[ct_cards.NAME], metrics=[])
        judge = lived_in(ct_cards.CHARACTERISER)
        export_characteriser(judge, root, version=1, data=data[ct_cards.CHARACTERISER], metrics=[])
    return root


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_from_service_with_its_answers(name: str, repository: Path) -> None:
    kind, serve = NETWORKS[name]
    network = kind()
    network.load_state_dict(served_weights(Catalogue(repository).find(name), network, serve))
    assert alike(network.eval(), lived_in(name), inputs_of(name, 2))


def test_a_network_that_told_less_in_service_can_be_gone_on_from(repository: Path, tmp_path: Path) -> None:
    """What its file does not tell of is among its layers all the same."""
    name = ct_cards.CHARACTERISER
    older = tmp_path / name
    shutil.copytree(repository / name, older)
    card = yaml.safe_load((older / "model.yaml").read_text())
    card["outputs"] = [output for output in card["outputs"] if output["tensor"] != "malignancy"]
    (older / "model.yaml").write_text(yaml.safe_dump(card))
    with np.load(older / "parity.npz") as sample:
        recorded = {key: values for key, values in sample.items() if "malignancy" not in key}
    np.savez(older / "parity.npz", **recorded)
    kind, serve = NETWORKS[name]
    network = kind()
    network.load_state_dict(served_weights(Catalogue(tmp_path).find(name), network, serve))
    assert alike(network.eval(), lived_in(name), inputs_of(name, 2))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_shipped_network_can_be_gone_on_from(name: str) -> None:
    """``served_weights`` itself holds the outcome to the recorded sample."""
    kind, serve = NETWORKS[name]
    network = kind()
    weights = served_weights(Catalogue().find(name), network, serve)
    assert weights.keys() == network.state_dict().keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_normalisations_know_the_data_and_the_answers_are_what_they_were(name: str, repository: Path) -> None:
    kind, serve = NETWORKS[name]
    network, inputs = kind(), inputs_of(name, 3)
    for module in (m for m in network.modules() if isinstance(m, nn.Dropout)):
        module.p = 0.0
    network.load_state_dict(served_weights(Catalogue(repository).find(name), network, serve))
    assert not alike(network.train(), lived_in(name), inputs)
    network.load_state_dict(served_weights(Catalogue(repository).find(name), network, serve))
    recount(network, lambda step: (*inputs, torch.zeros(1)), takes=len(inputs))
    assert alike(network.eval(), lived_in(name), inputs_of(name, 2))
    assert alike(network.train(), lived_in(name), inputs), "the first step starts from the answers in service"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        (lung_cards.DETECTOR, Detector("silu")),
        (lung_cards.DETECTOR, Detector("relu", 8)),
        (ct_cards.NAME, ct.LesionNet("relu", "deeplab")),
    ],
    ids=["activation", "width", "architecture"],
)
def test_another_network_is_refused(name: str, other: nn.Module, repository: Path) -> None:
    model, serve = Catalogue(repository).find(name), NETWORKS[name][1]
    with pytest.raises(BrokenDataError, match=r"another network than is trained .*give the --activation"):
        served_weights(model, other, serve)


def test_what_went_before_is_named_with_its_kind_and_not_twice(tmp_path: Path) -> None:
    named = learned_before(SHIPPED_MODELS, lung_cards.DETECTOR)
    shipped = Catalogue().find(lung_cards.DETECTOR).card.training_data
    assert [(part["name"], part["kind"]) for part in named] == [(part.name, part.kind) for part in shipped]
    export_lungs(
        Detector(),
        Characteriser(),
        tmp_path / "models",
        version=1,
        data={lung_cards.DETECTOR: named, lung_cards.CHARACTERISER: []},
        metrics=[],
        command="",
    )
    assert learned_before(tmp_path, lung_cards.DETECTOR) == named, "of a run, its models' cards tell"
    assert learned_before(tmp_path, POLYPS) == []


def test_a_folder_without_models_or_a_run_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(
        BrokenDataError, match=r"best\.pt is missing, .*model\.yaml: --from names .*installed"
    ):
        earlier_weights(tmp_path, "polyps", POLYPS, PolypNetwork(), SegmenterForService)


def earlier_detector(run: Path) -> object:
    return earlier_weights(
        run, "detector", lung_cards.DETECTOR, Detector(), DetectorForService, options={"activation": "relu"}
    )


def test_weights_of_an_earlier_run_are_refused_where_they_are_another_network_s(tmp_path: Path) -> None:
    folder = tmp_path / "detector"
    begin(folder, {"activation": "gelu"}, resume=True)
    torch.save(Detector("gelu").state_dict(), folder / "best.pt")
    with pytest.raises(BrokenDataError, match=r"best\.pt is another network .*--activation gelu;"):
        earlier_detector(tmp_path)
    begin(folder, {"activation": "relu"}, resume=True)
    assert earlier_detector(tmp_path) is not None
    torch.save({"conv.weight": torch.zeros(3)}, folder / "best.pt")
    with pytest.raises(BrokenDataError, match=r"best\.pt is another network .*layers are others"):
        earlier_detector(tmp_path)


@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04broken", b"weights"])
def test_broken_weights_of_an_earlier_run_are_named(broken: bytes, tmp_path: Path) -> None:
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "best.pt").write_bytes(broken)
    with pytest.raises(BrokenDataError, match=r"detector/best\.pt holds no weights"):
        earlier_detector(tmp_path)


def test_installed_are_the_models_that_the_settings_name(tmp_path: Path) -> None:
    """They hold none here, and it is their folder that is said to."""
    models, config = tmp_path / "models-of-the-site", tmp_path / "overread.toml"
    models.mkdir()
    config.write_text(f'[engine]\nmodels = "{models}"\n')
    asked = {"resume": True, "seed": 1, "minutes": None, "activation": "relu", "architecture": None}
    with pytest.raises(BrokenDataError, match="models-of-the-site"):
        command("polyps", None, "phantom", tmp_path, start="installed", config=config, device="cpu", **asked)
