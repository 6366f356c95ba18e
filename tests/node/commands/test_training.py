"""`overread train`, `evaluate` and `score` as a person meets them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from inference.catalogue import SHIPPED_MODELS
from inference.readers.polyps import POLYPS
from node.cli import app
from training.phantoms.endoscopy import endoscopy_frame

METRICS = ["luna16", "node21", "deeplesion", "volumes", "dice", "auroc", "classes", "registration"]


def overread(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def table(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def scored(folder: Path, metric: str, *arguments: object) -> dict[str, Any]:
    """The JSON of a score, and a look at its table."""
    out = folder / "score.json"
    shown = overread("score", metric, *arguments, "--json", out)
    assert shown.exit_code == 0, shown.output
    assert metric in shown.stdout
    figures: dict[str, Any] = json.loads(out.read_text())
    assert figures["metric"] == metric
    return figures


@pytest.mark.parametrize(
    "command", ["train", "compare", "evaluate", *(f"score {metric}" for metric in METRICS)]
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = overread(*command.split(), "--help")
    assert shown.exit_code == 0
    assert f"Example: overread {command}" in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "hips"], "task 'hips' is not known; there is: "),
        (["train", "lung-nodules", "--layout", "jsrt"], "layout 'jsrt' is not known"),
        (["train", "lung-nodules", "--layout", "lidc-slices"], "give --data DIR"),
        (["evaluate", "hips"], "task 'hips' is not known"),
    ],
)
def test_a_wrong_request_gets_a_sentence(arguments: Iterable[str], said: str) -> None:
    refused = overread(*arguments)
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    "command",
    [
        "train hips",
        "train polyps --layout jsrt",
        "evaluate polyps --layout jsrt",
        "evaluate polyps --split no",
    ],
)
def test_a_wrong_request_is_refused_before_anything_heavy_is_imported(command: str) -> None:
    heavy = {"numpy", "pydicom", "scipy", "sklearn", "matplotlib", "torch"}
    code = (
        "import sys; from typer.testing import CliRunner; from node.cli import app; "
        f"print(CliRunner().invoke(app, sys.argv[1:]).stderr, sorted({heavy!r} & set(sys.modules)))"
    )
    run = [sys.executable, "-c", code, *command.split()]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "is not known; there is: " in told
    assert told.rstrip().endswith("[]")


@pytest.mark.parametrize(
    "command", ["train lung-nodules", "evaluate lung-nodules", "score dice --truth . --results ."]
)
def test_without_the_extra_the_command_says_what_to_install(command: str, tmp_path: Path) -> None:
    hidden = (
        "import sys; sys.modules['torch'] = sys.modules['sklearn'] = None; from node.cli import app; app()"
    )
    run = [sys.executable, "-c", hidden, *command.split()]
    refused = subprocess.run(run, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    sources = Path(__file__).parents[3]
    assert f"`{sys.executable} -m pip install --editable '{sources}[train]'`" in refused.stderr


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """A repository with the shipped network for polyps, which outlines nothing that is not wholly sure."""
    folder = tmp_path / "run/models"
    shutil.copytree(SHIPPED_MODELS / POLYPS, folder / POLYPS)
    page = folder / POLYPS / "model.yaml"
    card = yaml.safe_load(page.read_text())
    card["operating_points"]["outline"]["threshold"] = 1.0
    page.write_text(yaml.safe_dump(card))
    return folder


@pytest.fixture
def polyps(tmp_path: Path) -> Path:
    """Two frames of the layout ``polyp-masks``."""
    folder = tmp_path / "polyp-masks"
    folder.mkdir()
    for number in range(2):
        frame = endoscopy_frame(500 + number, size=128, polyps=1)
        Image.fromarray(frame.picture).save(folder / f"{number}.png")
        Image.fromarray(frame.mask.astype(np.uint8) * 255).save(folder / f"{number}_mask.png")
    return folder


def measured(polyps: Path, *arguments: object) -> tuple[dict[str, Any], str]:
    """What is measured of ``polyps``, and what is shown of it, without blanks."""
    out = polyps / "figures.json"
    shown = overread(
        "evaluate", "polyps", "--layout", "polyp-masks", "--data", polyps, "--json", out, *arguments
    )
    assert shown.exit_code == 0, shown.output
    figures: dict[str, Any] = json.loads(out.read_text())
    return figures, "".join(shown.stdout.split())


def test_the_models_of_a_training_are_measured_where_they_are_named(strict: Path, polyps: Path) -> None:
    shipped, shown = measured(polyps)
    assert shipped["mean_dice"] > 0 and "models" not in shipped and str(SHIPPED_MODELS) not in shown
    named, shown = measured(polyps, "--models", strict)
    assert (named["mean_dice"], named["models"]) == (0, str(strict)) and str(strict) in shown


def test_what_is_measured_is_what_the_node_reads_with(strict: Path, polyps: Path, tmp_path: Path) -> None:
    settings = tmp_path / "overread.toml"
    settings.write_text(f'[engine]\nmodels = "{strict}"\n')
    figures, _ = measured(polyps, "--config", settings)
    assert (figures["mean_dice"], figures["models"]) == (0, str(strict))
    figures, _ = measured(polyps, "--config", settings, "--models", SHIPPED_MODELS)
    assert figures["mean_dice"] > 0 and "models" not in figures


def test_a_broken_table_gets_a_sentence(tmp_path: Path) -> None:
    truth = table(tmp_path / "t.csv", "name,label", "a,cat")
    results = table(tmp_path / "r.csv", "name,dog", "a,0.5")
    refused = overread("score", "classes", "--truth", truth, "--results", results)
    assert refused.exit_code == 1
    assert "t.csv, line 2: label 'cat' is no column of" in refused.stderr


def test_what_is_scored_counts_once(tmp_path: Path) -> None:
    truth = table(tmp_path / "t.csv", "name,edema", "a,1", "b,0", "a,1")
    results = table(tmp_path / "r.csv", "name,edema", "a,0.9", "b,0.2")
    refused = overread("score", "auroc", "--truth", truth, "--results", results)
    assert refused.exit_code == 1
    assert "t.csv, line 4: 'a' stands there a second time" in refused.stderr
    fixed = table(tmp_path / "f.csv", "name,x,y,z", "apex,0,0,0", "apex,9,0,0")
    moved = table(tmp_path / "m.csv", "name,x,y,z", "apex,0,0,0")
    refused = overread("score", "registration", "--fixed", fixed, "--moved", moved)
    assert refused.exit_code == 1
    assert "f.csv, line 3: 'apex' stands there a second time" in refused.stderr


def test_luna16_with_pictures(tmp_path: Path) -> None:
    place = "seriesuid,coordX,coordY,coordZ"
    (tmp_path / "s.csv").write_text("a\nb\n")
    figures = scored(
        tmp_path,
        "luna16",
        *("--annotations", table(tmp_path / "a.csv", f"{place},diameter_mm", "a,0,0,0,8", "b,9,9,9,8")),
        *("--excluded", table(tmp_path / "e.csv", f"{place},diameter_mm")),
        *("--seriesuids", tmp_path / "s.csv"),
        *("--results", table(tmp_path / "r.csv", f"{place},probability", "a,0,0,1,0.9", "b,50,0,0,0.4")),
        *("--pictures", tmp_path / "pictures"),
    )
    assert figures["cpm"] == 0.5
    assert (figures["scans"], figures["nodules"], figures["found"], figures["false_positives"]) == (
        2,
        2,
        1,
        1,
    )
    with Image.open(tmp_path / "pictures/froc.png") as drawn:
        assert drawn.size[0] > 400


def test_node21(tmp_path: Path) -> None:
    header = "img_name,x,y,width,height"
    truth = table(tmp_path / "m.csv", f"{header},label", "a.mha,10,10,20,20,1", "b.mha,0,0,0,0,0")
    results = table(tmp_path / "r.csv", f"{header},probability", "a.mha,11,11,20,20,0.9", "b.mha,5,5,9,9,0.2")
    figures = scored(tmp_path, "node21", "--annotations", truth, "--results", results)
    assert (figures["score"], figures["auroc"], figures["sensitivity_at_0.25"]) == (1, 1, 1)


@pytest.mark.parametrize(("rule", "mean"), [("iou", 0.0), ("iobb", 1.0)])
def test_deeplesion(tmp_path: Path, rule: str, mean: float) -> None:
    truth = table(tmp_path / "DL_info.csv", "File_name,Bounding_boxes", 'k.png,"0, 0, 10, 10"')
    results = table(tmp_path / "r.csv", "File_name,x1,y1,x2,y2,score", "k.png,2,2,4,4,0.9")
    figures = scored(tmp_path, "deeplesion", "--annotations", truth, "--results", results, "--overlap", rule)
    assert figures["mean_sensitivity"] == mean
    assert [at["false_per_scan"] for at in figures["at_rates"]] == [0.5, 1, 2, 4]


def test_volumes_without_lesions_count(tmp_path: Path) -> None:
    header = "volume,x1,y1,z1,x2,y2,z2"
    truth = table(tmp_path / "t.csv", header, "a,0,0,0,9,9,9", "b,,,,,,")
    results = table(tmp_path / "r.csv", f"{header},score", "a,1,1,1,9,9,9,0.9", "b,1,1,1,9,9,9,0.3")
    figures = scored(tmp_path, "volumes", "--annotations", truth, "--results", results)
    assert (figures["images"], figures["lesions"], figures["found"], figures["false_positives"]) == (
        2,
        1,
        1,
        1,
    )
    assert figures["mean_sensitivity"] == 1


def test_dice_of_folders_and_of_arrays(tmp_path: Path) -> None:
    full, half = np.full((4, 4), 255, np.uint8), np.full((4, 4), 255, np.uint8)
    half[:, 2:] = 0
    for name, mask in (("truth", full), ("results", half)):
        (tmp_path / name).mkdir()
        Image.fromarray(mask).save(tmp_path / name / "a.png")
        np.savez(tmp_path / f"{name}.npz", a=mask / 255)
    for end in ("", ".npz"):
        figures = scored(
            tmp_path, "dice", "--truth", tmp_path / f"truth{end}", "--results", tmp_path / f"results{end}"
        )
        assert (figures["mean_dice"], figures["mean_iou"]) == (pytest.approx(2 / 3), 0.5)


def test_the_worst_masks_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("t", "r"):
        np.savez(tmp_path / f"{name}.npz", **{f"case{k}": rng.random((9, 9)) for k in range(20)})
    given = ("--truth", tmp_path / "t.npz", "--results", tmp_path / "r.npz")
    scored(tmp_path, "dice", *given, "--pictures", tmp_path / "pictures")
    with Image.open(tmp_path / "pictures/worst.png") as drawn:
        assert drawn.size[0] > 1000


def test_a_mask_that_is_missing_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", a=np.ones(3), b=np.ones(3))
    np.savez(tmp_path / "r.npz", a=np.ones(3))
    refused = overread("score", "dice", "--truth", tmp_path / "t.npz", "--results", tmp_path / "r.npz")
    assert refused.exit_code == 1
    assert "has no mask for b" in " ".join(refused.stderr.split())


def test_auroc_with_unknown_labels_groups_and_pictures(tmp_path: Path) -> None:
    truth = table(
        tmp_path / "t.csv", "name,patient,edema,effusion", "a,1,1,", "b,1,0,1", "c,2,1,0", "d,3,0,1"
    )
    results = table(
        tmp_path / "r.csv", "name,edema,effusion", "d,0.1,0.9", "c,0.8,0.7", "b,0.3,0.6", "a,0.9,0.2"
    )
    folder = tmp_path / "pictures"
    figures = scored(
        tmp_path, "auroc", "--truth", truth, "--results", results, "--group", "patient", "--pictures", folder
    )
    assert figures["classes"]["edema"]["auroc"] == 1
    assert figures["classes"]["effusion"]["auroc"] == 0.5
    assert figures["classes"]["effusion"]["cases"] == 3
    assert figures["mean_auroc"] == 0.75
    assert figures["classes"]["edema"]["sensitivity"] == 1
    assert sorted(path.name for path in folder.iterdir()) == ["reliability.png", "roc.png"]


def test_accuracy_and_confusion(tmp_path: Path) -> None:
    truth = table(tmp_path / "t.csv", "name,label", "a,A", "b,B", "c,B")
    results = table(tmp_path / "r.csv", "name,A,B", "a,0.9,0.1", "b,0.6,0.4", "c,0.2,0.8")
    folder = tmp_path / "pictures"
    figures = scored(tmp_path, "classes", "--truth", truth, "--results", results, "--pictures", folder)
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["confusion"] == [[1, 0], [1, 1]]
    assert (folder / "confusion.png").exists()


def test_registration_with_a_field_and_structures(tmp_path: Path) -> None:
    fixed = table(tmp_path / "f.csv", "name,x,y,z", "carina,0,0,0", "apex,1,1,1")
    moved = table(tmp_path / "m.csv", "name,x,y,z", "apex,1,1,1", "carina,3,4,0")
    labels = np.array([0, 1, 1])
    np.savez(
        tmp_path / "field.npz",
        displacement_mm=np.zeros((3, 3, 3, 3)),
        spacing_mm=np.ones(3),
        fixed=labels,
        moved=labels[::-1],
    )
    figures = scored(
        tmp_path, "registration", "--fixed", fixed, "--moved", moved, "--field", tmp_path / "field.npz"
    )
    assert figures["tre"]["mean_mm"] == 2.5
    assert figures["folding"] == {"folded": 0, "sd_log": 0}
    assert figures["dice"] == {"1": 0.5}
