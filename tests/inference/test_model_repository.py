"""What Triton and people read of a model follows from its model.yaml, and a check tells when it does not."""

from pathlib import Path

import pytest
import yaml

from inference.catalogue import Catalogue
from inference.model_repository import main, stale, sync
from tests.tiny_models import make_repository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "models")
    sync(Catalogue(root))
    return root


def parsed(path: Path):
    """The configuration as Triton's own protobuf reads it."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    messages = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    return text_format.Parse(path.read_text(), messages.ModelConfig())


def test_a_repository_in_step_needs_no_writing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stale(Catalogue(root)) == []
    assert sync(Catalogue(root)) == []
    assert main([str(root), "--check"]) == 0
    assert capsys.readouterr().out == ""


def test_a_changed_card_makes_its_files_stale_until_they_are_written_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = root / "spots" / "model.yaml"
    card.write_text(card.read_text().replace("threshold: 0.4", "threshold: 0.6"))
    assert main([str(root), "--check"]) == 1
    assert capsys.readouterr().out == f"{root}/spots/README.md: out of step with model.yaml\n"
    assert main([str(root)]) == 0
    assert "| detection | 0.6 |" in (root / "spots" / "README.md").read_text()
    assert main([str(root), "--check"]) == 0


def test_a_config_changed_by_hand_is_found(root: Path) -> None:
    path = root / "grades" / "configs" / "cpu.pbtxt"
    path.write_text(path.read_text().replace("count: 1", "count: 4"))
    assert stale(Catalogue(root)) == [path]


def test_an_unsound_card_is_told_and_not_synced(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "spots" / "model.yaml").write_text("name: spots\n")
    assert main([str(root)]) == 2
    assert "spots/model.yaml: version: Field required" in capsys.readouterr().err


def test_prose_around_the_tables_is_kept(root: Path) -> None:
    page = root / "spots" / "README.md"
    page.write_text(
        "# Spots\n\nWritten by hand.\n\n" + page.read_text().partition("\n\n")[2] + "\nAnd after.\n"
    )
    assert sync(Catalogue(root)) == []
    card = root / "spots" / "model.yaml"
    card.write_text(card.read_text().replace("Knows nothing", "Knows little"))
    assert sync(Catalogue(root)) == [page]
    text = page.read_text()
    assert text.startswith("# Spots\n\nWritten by hand.\n\n<!--")
    assert text.endswith("\nAnd after.\n")
    assert "- Knows little" in text


def test_the_figures_of_the_card_stand_in_the_readme(root: Path) -> None:
    text = (root / "spots" / "README.md").read_text()
    assert "| sensitivity | 0.9 | 0.85 - 0.94 | spots | test | 200 | phantom |" in text
    assert "HU; LPS; 1.5 x 1.5 x 1.5 mm; clipped to -1000 ... 400; (value + 300) / 700" in text
    assert "spot (SCT 27925004)" in text


def test_a_volume_model_keeps_its_own_first_axis(root: Path) -> None:
    config = parsed(root / "spots" / "config.pbtxt")
    assert (config.name, config.backend, config.max_batch_size) == ("spots", "onnxruntime", 0)
    assert list(config.input[0].dims) == [-1, 1, -1, -1, -1]
    assert list(config.version_policy.specific.versions) == [1]
    assert not config.HasField("dynamic_batching")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_profile_max_shapes"] == "image:1x1x320x512x512"


def test_a_model_of_single_pictures_is_batched(root: Path) -> None:
    config = parsed(root / "grades" / "config.pbtxt")
    assert config.max_batch_size == 8
    assert list(config.input[0].dims) == [1, 32, 32]
    assert list(config.output[0].dims) == [3]
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.model_warmup[0].inputs["image"].dims == [1, 32, 32]


def test_each_deployment_has_its_backend_and_its_device(root: Path) -> None:
    folder = root / "spots"
    cpu, plan = parsed(folder / "configs" / "cpu.pbtxt"), parsed(folder / "configs" / "tensorrt.pbtxt")
    assert (cpu.backend, cpu.instance_group[0].Kind.Name(cpu.instance_group[0].kind)) == (
        "overread_cpu",
        "KIND_CPU",
    )
    assert plan.platform == "tensorrt_plan"
    assert plan.instance_group[0].Kind.Name(plan.instance_group[0].kind) == "KIND_GPU"
    assert plan.cc_model_filenames["8.9"] == "sm89.plan"
    sha256 = yaml.safe_load((folder / "model.yaml").read_text())["sha256"]
    assert cpu.parameters["sha256"].string_value == plan.parameters["sha256"].string_value == sha256


def test_the_shipped_repository_is_in_step() -> None:
    assert stale(Catalogue()) == []


def test_every_shipped_configuration_parses() -> None:
    for model in Catalogue():
        for path in (model.folder / "config.pbtxt", *sorted((model.folder / "configs").iterdir())):
            assert parsed(path).name == model.card.name
