"""ct-lesions learns from DeepLesion as it is released, and nothing of what is not known there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Tensors
from inference.engine.embedded import EmbeddedEngine
from inference.parity import verify
from inference.readers.ct_lesions import read
from tests.training.datasets.pictures import text
from tests.training.deeplesion_folder import (
    HEADER,
    KEY,
    LESION,
    LONG,
    PIXEL_MM,
    SHORT,
    deeplesion_folder,
    row,
)
from tests.training.marking import Marking
from training.ct_lesions import cards, recipe
from training.ct_lesions.characteriser import batched
from training.ct_lesions.characteriser import losses as looks
from training.ct_lesions.crops import SHAPE, Crop, cut
from training.ct_lesions.detector import PatchBatches, losses, train_detector
from training.ct_lesions.ellipses import Ellipse
from training.ct_lesions.key_slices import KeySlicePatches, key_slice_crops, lesions_of, volume_of
from training.ct_lesions.known import KNOWN, OPEN, UNMARKED, part
from training.ct_lesions.looks import KINDS, LOOKS
from training.ct_lesions.patches import SIZE, SPACING_MM, Shard, Spot, keep
from training.ct_lesions.recipe import Plan
from training.ct_lesions.sources import marked_in
from training.datasets.splits import read_splits
from training.errors import BrokenDataError
from training.loop import Schedule
from training.phantoms.acquisition import as_series
from training.phantoms.bodies import random_lesions
from training.phantoms.fields import Grid
from training.phantoms.masses import SITES
from training.run import train

X_MM, Y_MM = (PIXEL_MM * number for number in LESION)
LONG_MM, SHORT_MM = (PIXEL_MM * number for number in (LONG, SHORT))
WIDTH = 2 + len(SITES) + len(LOOKS) + len(KINDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deeplesion_folder(tmp_path_factory.mktemp("deeplesion"), (1, 1, 2, 3))


@pytest.fixture(scope="module")
def patches(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> KeySlicePatches:
    return KeySlicePatches.of(marked_in(folder).learned[0], tmp_path_factory.mktemp("patches"))


ONE_MARK = Marking((22, 8, 18))
"""On the key slice, half of the way to the middle of the body."""


@pytest.fixture(scope="module")
def crops(folder: Path) -> list[Crop]:
    body = cards.detector_card(1, {"candidate": {"threshold": 0.08}}, [], []) | {"sha256": "0" * 64}
    return key_slice_crops(marked_in(folder).learned[0][0], ONE_MARK, ModelCard.model_validate(body))


def test_a_lesion_is_an_ellipse_through_the_ends_of_its_axes(folder: Path) -> None:
    (lesion,) = lesions_of(marked_in(folder).learned[0][0])
    assert lesion.center_mm == pytest.approx((X_MM, Y_MM, 0))
    assert lesion.diameter_mm == pytest.approx(2 * np.sqrt(LONG_MM * SHORT_MM))
    y, x = np.mgrid[0:130, 0:130].astype(np.float32)
    filled = lesion.ellipse.share(x, y, 1.0)
    assert filled.sum() == pytest.approx(np.pi * LONG_MM * SHORT_MM, rel=0.01)
    across, down = filled[round(Y_MM)], filled[:, round(X_MM)]
    assert (across >= 0.5).sum() == pytest.approx(2 * LONG_MM, abs=1)
    assert (down >= 0.5).sum() == pytest.approx(2 * SHORT_MM, abs=1)


def test_axes_need_not_halve_each_other_nor_lie_along_the_picture() -> None:
    oblique = Ellipse.through(((0, 0), (6, 8)), ((1.0, 8.0), (6.6, 3.8)), (2.0, 2.0))
    assert (oblique.ahead, oblique.behind) == pytest.approx((6.0, 14.0))
    assert (oblique.left, oblique.right) == pytest.approx((8.0, 6.0))
    y, x = np.mgrid[-10:30:0.25, -10:30:0.25].astype(np.float32)
    filled = oblique.share(x, y, 0.25)
    assert filled.sum() / 16 == pytest.approx(np.pi / 4 * 20 * 14, rel=0.02)
    for column, line in ((0, 0), (6, 8), (1.0, 8.0), (6.6, 3.8)):
        near = np.hypot(x - 2 * column, y - 2 * line) < 1
        assert 0.1 < filled[near].mean() < 0.9, "every end lies on the outline"
    point = Ellipse.through(((3, 3), (3, 3)), ((3, 3), (3, 3)), (1.0, 1.0))
    assert point.share(np.array([3.0]), np.array([3.0]), 1.0) == pytest.approx(1)


def test_the_body_goes_on_as_its_mirror_image_where_no_slice_is_released(folder: Path) -> None:
    one = marked_in(folder).learned[0][0]
    volume = volume_of(one)
    key = int(volume.to_index((0, 0, 0))[0])
    np.testing.assert_array_equal(volume.voxels[key - 3 : key + 4], one.stack()[0].clip(min=-1024))
    np.testing.assert_array_equal(volume.voxels[key + 4], volume.voxels[key + 2])
    assert volume.to_patient((0, 0, 0))[2] <= -64 and volume.to_patient((len(volume.voxels), 0, 0))[2] >= 64


def test_a_key_slice_alone_is_a_body_too(tmp_path: Path) -> None:
    folder = deeplesion_folder(tmp_path, (1, 2))
    for path in (folder / "Images_png" / "000001_01_01").iterdir():
        if path.stem != f"{KEY:03d}":
            path.unlink()
    table = folder / "DL_info.csv"
    table.write_text(table.read_text().replace(f'"{KEY - 3}, {KEY + 3}"', f'"{KEY}, {KEY}"', 1))
    volume = volume_of(marked_in(folder).learned[0][0])
    assert (volume.voxels == volume.voxels[0]).all() and len(volume.voxels) > 30


def test_a_patch_knows_its_key_slice_alone_and_there_what_was_marked(patches: KeySlicePatches) -> None:
    patch = patches[0]
    (spot,) = patch.spots
    assert spot.site is None and spot.malignant is None
    x, y, z = (round(mm / SPACING_MM) for mm in spot.center_mm)
    assert z == SIZE // 2
    assert (np.delete(patch.known, z, 0) == OPEN).all()
    assert set(np.unique(patch.known[z])) == {KNOWN, UNMARKED}
    assert (patch.known[z] == KNOWN)[patch.share[z] > 0].all()
    assert patch.known[z, y, x] == KNOWN and patch.share[z, y, x] == 255
    assert patch.share.sum() / 255 * SPACING_MM**2 == pytest.approx(np.pi * LONG_MM * SHORT_MM, rel=0.05)
    inside, beside = patch.hu[z, y, x], patch.hu[z, y - 10, x]
    assert inside - beside > 40, "the mask lies on what is bright"


def test_an_open_place_takes_no_part_and_an_unmarked_one_the_less_the_surer_the_network_is() -> None:
    sure = torch.tensor([0.1, 0.1, 0.1, 0.99], requires_grad=True)
    found = part(torch.tensor([OPEN, KNOWN, UNMARKED, UNMARKED]), sure)
    assert found.tolist() == pytest.approx([0.0, 1.0, 0.9, 0.01])
    assert not found.requires_grad


def test_the_first_network_learns_nothing_of_what_is_not_known(patches: KeySlicePatches) -> None:
    batch = PatchBatches([patches], 1, 1, SIZE)(0)
    known_centre, known = batch[6], batch[8]
    maps = torch.zeros(1, 3 + len(SITES), *known_centre.shape[1:], requires_grad=True)
    inside = torch.zeros(1, 1, *known.shape[1:], requires_grad=True)
    sum(losses(maps, inside, batch).values()).backward()
    assert maps.grad is not None and inside.grad is not None
    assert (maps.grad[:, 2:] == 0).all(), "neither malignancy nor site"
    for gradient, where in ((maps.grad[:, 0], known_centre), (inside.grad[:, 0], known)):
        assert (gradient[where == OPEN] == 0).all()
        assert (gradient[where == KNOWN] != 0).any() and (gradient[where == UNMARKED] > 0).all()
    assert (maps.grad[:, 1][known_centre != KNOWN] == 0).all()
    assert (maps.grad[:, 0][batch[1] > 0.99] < 0).all()


def test_what_looks_like_a_lesion_and_was_not_marked_is_let_be(patches: KeySlicePatches) -> None:
    batch = PatchBatches([patches], 1, 1, SIZE, perturbed=False)(0)
    at = tuple(int(i) for i in torch.nonzero(batch[6] == UNMARKED)[0])

    def pushed(logit: float) -> float:
        maps = torch.full((1, 3 + len(SITES), *batch[6].shape[1:]), -5.0)
        maps[0, 0][at[1:]] = logit
        maps.requires_grad_()
        losses(maps, torch.zeros(1, 1, *batch[8].shape[1:]), batch)["centre"].backward()
        assert maps.grad is not None
        return float(maps.grad[0, 0][at[1:]])

    assert pushed(0.0) > 20 * pushed(6.0) > 0


def test_a_crop_knows_the_key_slice_alone(crops: list[Crop]) -> None:
    lesion, nothing = crops
    assert (lesion.lesion, nothing.lesion) == (1, 0)
    assert set(lesion.known) == {OPEN, KNOWN} and set(nothing.known) == {OPEN, UNMARKED}
    assert 1 <= (lesion.known == KNOWN).sum() <= 2
    filled = lesion.mask[lesion.known == KNOWN][0].sum() / 100 * lesion.spacing_mm**2
    assert filled == pytest.approx(np.pi * LONG_MM * SHORT_MM, rel=0.05)
    assert not lesion.mask[lesion.known == OPEN].any() and not nothing.mask.any()
    plane = lesion.known == KNOWN
    drawn = lesion.close[plane][0][lesion.mask[plane][0] > 90]
    assert np.median(drawn) == pytest.approx(110, abs=25)
    assert lesion.malignant == nothing.malignant == -1 and lesion.site == -1


def test_the_second_network_learns_nothing_of_what_is_not_known(crops: list[Crop]) -> None:
    *_, known, mask, labels = batched(crops)

    def pushed(lesion: float) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.zeros(2, 1, *SHAPE, requires_grad=True)
        judged = torch.zeros(2, WIDTH)
        judged[:, 0] = lesion
        judged.requires_grad_()
        sum(looks(logits, judged, known, mask, labels).values()).backward()
        assert logits.grad is not None and judged.grad is not None
        return logits.grad, judged.grad

    of_mask, of_word = pushed(0.0)
    beside = (known == OPEN).expand_as(of_mask)
    assert (of_mask[beside] == 0).all() and (of_mask[~beside] != 0).any()
    assert (of_word[:, 1:] == 0).all(), "neither malignancy, site, look nor kind"
    assert of_word[0, 0] < 0 < of_word[1, 0]
    _, when_sure = pushed(6.0)
    assert when_sure[1, 0] < 0.02 * of_word[1, 0], "a mark that looks like a lesion may be one"


def test_the_site_is_learned_where_the_release_tells_a_type(tmp_path: Path) -> None:
    one = marked_in(deeplesion_folder(tmp_path, (1, 2), kind=6)).learned[0][0]
    assert KeySlicePatches.of((one,), tmp_path / "p")[0].spots[0].site == "kidney"


def test_the_released_splits_are_kept_and_what_is_noisy_is_left_out(folder: Path, tmp_path: Path) -> None:
    marked = marked_in(folder)
    assert [slices[0].patient for slices in marked.learned] == ["000001", "000002"]
    assert [slices[0].patient for slices in marked.checked] == ["000003"]
    assert marked.splits["000004"] == "test"
    deeplesion_folder(tmp_path, (1, 1, 2))
    rows = [
        row(f"00000{k}_01_01_{KEY:03d}.png", split=(1, 1, 2)[k - 1], noisy=int(k == 1)) for k in (1, 2, 3)
    ]
    text(tmp_path / "DL_info.csv", HEADER, *rows)
    assert [slices[0].patient for slices in marked_in(tmp_path).learned] == ["000002"]
    with pytest.raises(BrokenDataError, match="no key slice of the split validation"):
        text(tmp_path / "DL_info.csv", HEADER, *rows[:2])
        marked_in(tmp_path)


def test_a_patient_in_two_splits_is_named(tmp_path: Path) -> None:
    deeplesion_folder(tmp_path, (1, 2))
    name = f"000001_01_01_{KEY:03d}.png"
    text(tmp_path / "DL_info.csv", HEADER, row(name, split=1), row(name.replace("020", "021"), split=2))
    with pytest.raises(BrokenDataError, match="patient 000001 in two splits: train and validation"):
        marked_in(tmp_path)


def test_a_broken_slice_is_named_before_anything_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deeplesion_folder(tmp_path / "data", (1, 2))
    broken = folder / "Images_png" / "000001_01_01" / f"{KEY + 1:03d}.png"
    broken.write_bytes(b"no picture")
    monkeypatch.setattr(recipe, "Plan", lambda **given: Plan(**given | {"trunks": 0}))
    with pytest.raises(BrokenDataError, match=rf"000001_01_01/{broken.name} cannot be read"):
        train("ct-lesions", folder, "deeplesion", tmp_path / "out")


@pytest.fixture
def few_phantoms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a run finds what two phantoms gave: balls of water, as their rendering takes most of a minute."""
    grid = Grid.centred((SIZE,) * 3, (SPACING_MM,) * 3)
    z, y, x = grid.axes
    ball = (np.sqrt(x**2 + y**2 + z**2) < 12).astype(np.float32)
    hu = np.rint(40 + 80 * ball + np.random.default_rng(1).normal(0, 8, ball.shape))
    spots = [[Spot((64.0, 64.0, 64.0), 24.0, "liver", malignant)] for malignant in (True, False)]
    kept = np.stack([hu] * 2).astype(np.int16), np.stack([255 * ball] * 2).astype(np.uint8)
    for seed in range(2):
        name = f"trunk-{recipe.FIRST_TRUNK + seed}"
        keep(tmp_path / "patches", name, dict(zip(("hu", "share"), kept, strict=True)), spots)
    volume, share = as_series(hu, grid), as_series(ball, grid)
    drawn = {made.malignant: made for _, made in random_lesions(np.random.default_rng(1), 40)}

    def of_phantom(*_: object) -> list[Crop]:
        lesions = [
            cut(volume, volume, (0.0, 0.0, 0.0), 24.0, share=share, recipe=drawn[bad], site=3)
            for bad in (True, False)
        ]
        return [*lesions, cut(volume, volume, (40.0, 0.0, 0.0), 20.0)]

    monkeypatch.setattr(recipe, "phantom_crops", of_phantom)
    return tmp_path


def quickly(
    network: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
    path: Path,
) -> Tensors:
    """As ``training.export.write_onnx``, by torch's older exporter, which takes a tenth of the time."""
    network.eval().to("cpu", memory_format=torch.contiguous_format)
    path.parent.mkdir(parents=True, exist_ok=True)
    moving = {name: dict(axes) for name, axes in dynamic.items()} | {
        name: {0: "batch"} if path.parent.parent.name == cards.CHARACTERISER else {2: "s", 3: "r", 4: "c"}
        for name in outputs
    }
    with torch.no_grad():
        answers = network(*inputs.values())
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=moving,
        )
    return {name: answer.numpy() for name, answer in zip(outputs, answers, strict=True)}


def difference(values: torch.Tensor, dim: int) -> torch.Tensor:
    """``torch.diff``, which the older exporter does not know."""
    length = values.shape[dim] - 1
    return values.narrow(dim, 1, length) - values.narrow(dim, 0, length)


@pytest.mark.filterwarnings("ignore")
def test_the_other_architecture_learns_and_answers_as_it_did_in_training(
    few_phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.export.write_onnx", quickly)
    shards = [Shard.opened(few_phantoms / "patches", f"trunk-{recipe.FIRST_TRUNK}")]
    network, history = train_detector(
        shards,
        shards,
        few_phantoms / "network",
        Schedule(steps=2),
        architecture="deeplab",
        batch_size=1,
        size=32,
    )
    recipe.export_detector(network, few_phantoms / "models", version=1, data=[], metrics=[])
    catalogue = Catalogue(few_phantoms / "models")
    assert history.scores and np.isfinite(history.best)
    assert all(found.passed for found in verify(catalogue, EmbeddedEngine(catalogue)))


def test_both_networks_share_the_minutes_of_a_run() -> None:
    first, second = (one.minutes for one in Plan(minutes=10).schedules())
    assert first and second and first + second == pytest.approx(10)
    assert [one.minutes for one in Plan().schedules()] == [None, None]


@pytest.mark.filterwarnings("ignore")
def test_a_run_makes_two_networks_that_the_reader_reads_with(
    folder: Path, few_phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.export.write_onnx", quickly)
    monkeypatch.setattr(torch.Tensor, "diff", difference)
    marked = marked_in(folder)
    plan = Plan(trunks=2, crop_trunks=2, steps=1, look_steps=1, word_scans=0, slices_each=1)
    catalogue = Catalogue(recipe.train([], few_phantoms, plan, marked))
    engine = EmbeddedEngine(catalogue)
    assert all(found.passed for found in verify(catalogue, engine))
    for name in (cards.NAME, cards.CHARACTERISER):
        card = catalogue.find(name).card
        _, real = card.training_data
        assert (real.name, real.kind, real.cases) == ("DeepLesion", "real", 2)
        assert "--layout deeplesion" in card.training_command
        assert any("about half of all lesions have no mark" in limit for limit in card.limits)
    found = read(volume_of(marked.checked[0][0]), engine, catalogue)
    assert found.reader == "ct-lesions"
    assert read_splits(few_phantoms / "splits.json")["000003"] == "validation"
    with pytest.raises(BrokenDataError, match="of a run with another data"):
        recipe.train([], few_phantoms, plan)
