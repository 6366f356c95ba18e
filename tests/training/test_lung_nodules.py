"""How the networks of lung-nodules are made: patches, candidates, losses, and the way into the catalogue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from inference.catalogue import SHIPPED_MODELS, Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.parity import verify
from inference.volume import Volume
from training.detection.networks import ACTIVATIONS
from training.lung_nodules import backgrounds, cards, phantom_scans, recipe
from training.lung_nodules.backgrounds import SPACING_MM, Background, lung_depth, real_background
from training.lung_nodules.characteriser import characteriser_losses
from training.lung_nodules.crops import SHAPE, Candidate, Stack
from training.lung_nodules.detector import detector_losses, stacked
from training.lung_nodules.export import CharacteriserForService, DetectorForService, export
from training.lung_nodules.masses import draw_shown, large_candidates
from training.lung_nodules.mining import scan_candidates
from training.lung_nodules.networks import Characteriser, Detector
from training.lung_nodules.patches import PatchSource
from training.lung_nodules.phantom_scans import Slab, searched
from training.lung_nodules.recipe import Plan, data_of_cards, learn
from training.lung_nodules.sources import RealSeries, Sources, luna16
from training.metrics.overlap import dice
from training.phantoms.anatomy import chest_anatomy
from training.phantoms.fields import Grid
from training.phantoms.nodules import draw_nodule, random_nodule
from training.phantoms.render import render
from training.run import evaluate, train
from training.shipped import earlier_weights

NATIVE = {
    "Conv",
    "ConvTranspose",
    "Relu",
    "Add",
    "Mul",
    "Div",
    "Sub",
    "Clip",
    "Sigmoid",
    "Exp",
    "Log",
    "Concat",
}
NATIVE |= {"Slice", "ReduceMean", "ReduceMax", "Gemm", "AveragePool", "MaxPool", "Softmax"}


@pytest.fixture(scope="module")
def chest() -> Background:
    anatomy = chest_anatomy(1003)
    grid = Grid.centred((64, 96, 128), (1.5, 1.5, 1.5))
    hu = render(anatomy, grid).astype(np.int16)
    return Background("chest", hu, grid, anatomy.fields["lungs"], False)


def test_a_patch_follows_from_its_number(chest: Background) -> None:
    one, same, other = (PatchSource([chest], 1, 32)(n) for n in (5, 5, 6))
    assert np.array_equal(one.hu, same.hu)
    assert not np.array_equal(one.hu, other.hu)


def test_where_a_patch_has_heat_it_has_a_size_and_an_inside(chest: Background) -> None:
    source = PatchSource([chest], 1, 32)
    patches = [source(n) for n in range(12)]
    centres = [np.argwhere(p.heat == 1) for p in patches]
    assert sum(map(len, centres)) >= 4
    for patch, found in zip(patches, centres, strict=True):
        assert all(patch.sized[tuple(at)] == 1 and patch.log_diameter[tuple(at)] > 1 for at in found)


def test_the_detector_loss_falls_when_the_answer_is_right(chest: Background) -> None:
    _, heat, size, sized, inside = stacked([PatchSource([chest], 1, 32)(n) for n in range(8)])
    logit = torch.logit(heat.clamp(0.001, 0.999))
    right = torch.stack([logit, size, torch.logit(inside.clamp(0.001, 0.999))], 1)
    losses, guess = detector_losses(right, heat, size, sized, inside), torch.zeros_like(right)
    worse = detector_losses(guess, heat, size, sized, inside)
    assert all(losses[k] < 0.5 * worse[k] for k in ("centre", "size", "inside"))


def test_what_a_crop_does_not_show_is_not_held_against_the_mask() -> None:
    mask, known = torch.zeros(1, 1, *SHAPE), torch.zeros(1, 1, *SHAPE)
    mask[..., 4:8, 15:25, 15:25], known[..., 3:9, :, :] = 1, 1
    labels = torch.tensor([[1.0, 1.0, 0.0]])
    inside_known = torch.where(mask > 0, 9.0, -9.0)
    beyond = torch.where(known > 0, inside_known, 9.0)
    a, b = (characteriser_losses(x, torch.zeros(1, 6), mask, known, labels) for x in (inside_known, beyond))
    assert float(a["mask"]) == pytest.approx(float(b["mask"]))


def test_a_stack_is_sampled_in_millimetres_and_put_back() -> None:
    z, y, x = np.mgrid[:9, :128, :128]
    ball = ((z - 4) * 2.5) ** 2 + ((y - 64) * 0.7) ** 2 + ((x - 60) * 0.7) ** 2 < 8**2
    stack = Stack(np.where(ball, 40.0, -850.0), ball.astype(float), np.arange(9) * 2.5, 0.7)
    _, mask = stack.crop((4, 64, 60), 1.0)
    assert mask.sum() * 2 == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.08)
    assert dice(stack.uncrop(mask, (4, 64, 60), 1.0) >= 0.5, ball) > 0.9


@pytest.fixture
def thin_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_scans, "_MOST_VOXELS", 1_500_000)


@pytest.mark.usefixtures("thin_slabs")
def test_candidates_are_what_the_detector_marks_in_scans_and_their_nodules() -> None:
    torch.manual_seed(0)
    everywhere = Detector(width=8)
    with torch.no_grad():
        everywhere.head[1].bias[0] = 1.0
    candidates = searched(everywhere, 1003, scans=1, nodules=4)
    assert {c.nodule for c in candidates} == {0.0, 1.0}
    assert all(c.mask.any() == bool(c.nodule) for c in candidates)
    assert all(c.kind >= 0 and c.malignancy in (0.0, 1.0) for c in candidates if c.nodule)
    blind = searched(Detector(width=8), 1003, scans=1, nodules=4)
    assert len(blind) < len(candidates)
    assert all(c.nodule for c in blind)


def test_large_candidates_are_masses_and_what_is_marked_where_there_is_none(chest: Background) -> None:
    torch.manual_seed(0)
    everywhere = Detector(width=8)
    with torch.no_grad():
        everywhere.head[1].bias[:2] = torch.tensor([1.0, np.log(15)])
    candidates = large_candidates(everywhere, chest, scans=1, seed=8)
    assert {c.nodule for c in candidates} == {0.0, 1.0}
    assert all(c.mask.any() == bool(c.nodule) for c in candidates)
    assert all(c.malignancy == -1 for c in candidates)
    masses = [c for c in candidates if c.nodule]
    inside = [float(np.nanmedian(c.hu[c.mask > 50].astype(float))) for c in masses if c.kind == 0]
    assert inside
    assert all(-40 < hu < 120 for hu in inside)


def test_of_a_mass_that_is_mostly_covered_nothing_stays_in_the_scan(chest: Background) -> None:
    row = [(float(x), float(chest.grid.axes[1].ravel()[48]), 0.0) for x in chest.grid.axes[2].ravel()]
    depths = chest.depth.at(row)
    hu = chest.hu.astype(np.float32)
    for depth, shown in ((-9.5, False), (6.0, True)):
        center = row[int(np.abs(depths - depth).argmin())]
        nodule = random_nodule(np.random.default_rng(1), center, 30.0)
        with_it, drawn = hu.copy(), hu.copy()
        part = draw_nodule(with_it, chest.grid, nodule, chest.depth)
        assert part.filled.max() > 0.9
        mass = draw_shown(drawn, chest.grid, nodule, chest.depth, 0.0)
        assert (mass is not None) == shown
        np.testing.assert_array_equal(drawn, with_it if shown else hu)


def test_a_card_counts_what_was_learned_from_and_not_what_chose_the_weights(luna16_folder: Path) -> None:
    sources = luna16(luna16_folder, luna16_folder / "splits.json")
    one, other = sources.scans
    held_out = replace(other, held_out=True)
    plain = [replace(scan, nodules=(), mistaken=(), name=scan.name + " alone") for scan in (one, held_out)]
    data = data_of_cards(Plan(), Sources(scans=(one, held_out, *plain)), ())
    counted = {row["name"]: row["cases"] for row in data[cards.CHARACTERISER]}
    assert counted == {"chest phantoms": 36, "other chest phantoms": 36, f"{one.name} alone": 1, "LUNA16": 1}
    assert data[cards.DETECTOR][0]["cases"] == 36
    none_large = data_of_cards(TINY, sources, ())[cards.CHARACTERISER]
    assert [row["name"] for row in none_large] == ["chest phantoms", "LUNA16"]


def test_another_detector_has_its_marks_cut_anew(
    tmp_path: Path, luna16_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched_seeds: list[int] = []

    def searched_by(_: Detector, seed: int, *__: int) -> list[Candidate]:
        searched_seeds.append(seed)
        return []

    monkeypatch.setattr(recipe, "searched", searched_by)
    sources, plan = luna16(luna16_folder, luna16_folder / "splits.json"), replace(TINY, crop_chests=2)

    def cut_for(detector: Detector, sources: Sources, plan: Plan) -> tuple[list[int], int]:
        searched_seeds.clear()
        learned, _ = recipe.prepare(detector, sources, tmp_path, plan)
        return sorted(searched_seeds), len(learned)

    detector = Detector(width=8)
    (one, other), seeds = sources.scans, [2000, 2001]
    assert cut_for(detector, sources, plan) == (seeds, 6)
    assert cut_for(detector, sources, plan) == ([], 6)
    assert cut_for(detector, sources, replace(plan, nodules_each=3)) == (seeds, 6)
    more = Sources(scans=(replace(one, nodules=2 * one.nodules), other))
    assert cut_for(detector, more, plan) == ([], 8)
    with torch.no_grad():
        detector.head[1].bias[0] += 1
    assert cut_for(detector, sources, plan) == (seeds, 6)


@pytest.mark.usefixtures("thin_slabs")
def test_a_phantom_s_scan_has_the_pixels_and_slices_of_a_clinic_s() -> None:
    slab = Slab.drawn(1004)
    rng = np.random.default_rng(1)
    one, other = (slab.scanned((), rng) for _ in range(2))
    assert one.spacing_mm == pytest.approx(slab.grid.spacing_mm)
    assert 1.0 <= one.spacing_mm[0] <= 5.0
    assert 0.6 <= one.spacing_mm[1] <= 1.4
    assert one.voxels.std() > 200
    assert not np.array_equal(one.voxels, other.voxels)


def test_a_real_scan_s_lungs_are_found_within_its_body() -> None:
    hu = np.full((120, 150, 180), -1000, np.int16)
    hu[:, 9:141, 9:171] = 40
    hu[9:111, 30:120, 24:75] = hu[9:111, 30:120, 105:156] = -860
    depth = lung_depth(hu)
    assert depth[20, 25, 16] > 30
    assert depth[20, 1, 1] < 0
    assert depth[20, 25, 30] < 0


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_makes_a_network_that_runs(activation: str) -> None:
    with torch.no_grad():
        assert Detector(activation, 8).eval()(torch.zeros(1, 1, 16, 32, 16)).shape == (1, 3, 8, 16, 8)
        mask, judged = Characteriser(activation).eval()(torch.zeros(2, 1, *SHAPE), torch.ones(2, 1))
    assert (mask.shape, judged.shape) == ((2, 1, *SHAPE), (2, 6))


def test_weights_from_before_the_rim_was_judged_answer_as_they_did() -> None:
    torch.manual_seed(0)
    one, other = Characteriser().eval(), Characteriser().eval()
    before = one.state_dict()
    with torch.no_grad():
        before["judge.0.weight"][:, -48:] = 0
        other.go_on_from({**before, "judge.0.weight": before["judge.0.weight"][:, :-48]})
        crop, spacing = torch.randn(2, 1, *SHAPE), torch.ones(2, 1)
        answers = zip(one(crop, spacing), other(crop, spacing), strict=True)
        assert all(torch.equal(a, b) for a, b in answers)


def test_exported_networks_answer_as_they_did_in_training_and_are_native_to_tensorrt(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = [{"name": "nothing", "kind": "phantom", "cases": 0}]
    both = {cards.DETECTOR: data, cards.CHARACTERISER: data}
    export(Detector(), Characteriser(), tmp_path, version=1, data=both, metrics=[], command="")
    catalogue = Catalogue(tmp_path)
    rows = list(verify(catalogue, EmbeddedEngine(catalogue)))
    assert len(rows) == 6
    assert all(row.passed for row in rows), rows
    for model in catalogue:
        used = {node.op_type for node in onnx.load(model.weights).graph.node}
        assert used <= NATIVE


def test_cards_say_what_the_weights_were_made_by(
    tmp_path: Path, luna16_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(recipe, "learn", lambda *_: recipe.Learned(Detector(width=8), Characteriser(), {}))
    monkeypatch.setattr(recipe, "export", lambda *_, command, **__: made.append(command))
    of_luna16 = luna16(luna16_folder, luna16_folder / "splits.json")
    for sources, start in ((Sources(), None), (Sources(tmp_path), None), (of_luna16, tmp_path)):
        recipe.train(sources, tmp_path, replace(TINY, start=start))
    assert made == [
        "overread train lung-nodules --layout phantom",
        "overread train lung-nodules --data DIR --layout lidc-slices",
        "overread train lung-nodules --data DIR --layout luna16 --from EARLIER",
    ]
    for card in (cards.detector_card, cards.characteriser_card):
        assert card(1, {}, [], [], made[0])["training_command"] == made[0]


def test_an_unknown_task_layout_or_activation_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"task 'hips' is not known; there is: .*lung-nodules"):
        train("hips", None, "phantom", tmp_path)
    with pytest.raises(ValueError, match="layout 'jsrt'"):
        train("lung-nodules", None, "jsrt", tmp_path)
    with pytest.raises(ValueError, match="activation 'sine'"):
        train("lung-nodules", None, "phantom", tmp_path, activation="sine")
    with pytest.raises(ValueError, match="needs a folder"):
        train("lung-nodules", None, "lidc-slices", tmp_path)
    with pytest.raises(ValueError, match="split"):
        evaluate("lung-nodules", None, "phantom", "unheard-of")


TINY = Plan(
    chests=1,
    crop_chests=1,
    detector_steps=2,
    characteriser_steps=2,
    patch=32,
    scans_each=1,
    nodules_each=6,
)


@pytest.fixture(scope="module")
def luna16_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans of 90 mm in the layout as released: lungs of air in a block of tissue, one nodule."""
    folder = tmp_path_factory.mktemp("luna16")
    z, y, x = np.mgrid[:45, :60, :60]
    for subset, uid in (("subset0", "1.2.3"), ("subset1", "1.2.4")):
        hu = np.where((abs(y - 30) < 22) & (abs(abs(x - 30) - 13) < 9) & (z > 4), -860, 40)
        hu = np.where((abs(y - 30) > 27) | (abs(x - 30) > 27), -1000, hu)
        hu[((z - 22) ** 2 + (y - 30) ** 2 + (x - 43) ** 2) < 4**2] = 30
        image = sitk.GetImageFromArray(hu.astype(np.int16))
        image.SetSpacing((2.0, 2.0, 2.0))
        image.SetOrigin((-60.0, -60.0, -45.0))
        (folder / subset).mkdir()
        sitk.WriteImage(image, str(folder / subset / f"{uid}.mhd"))
    head = "seriesuid,coordX,coordY,coordZ"
    rows = "\n1.2.3,26,0,-1,16\n1.2.4,26,0,-1,16\n"
    (folder / "annotations.csv").write_text(f"{head},diameter_mm{rows}")
    (folder / "annotations_excluded.csv").write_text(f"{head},diameter_mm\n1.2.3,-26,0,20,-1\n")
    (folder / "candidates_V2.csv").write_text(
        f"{head},class\n1.2.3,-26,10,-20,0\n1.2.3,-26,3,20,0\n1.2.4,26,0,-1,1\n"
    )
    (folder / "splits.json").write_text('{"train": ["1.2.3", "1.2.4"]}')
    return folder


def test_a_scan_s_own_nodules_are_learned_from_where_they_lie(luna16_folder: Path, tmp_path: Path) -> None:
    scan = luna16(luna16_folder, luna16_folder / "splits.json").scans[0]
    background = real_background(scan, tmp_path)
    source = PatchSource([background], 1, 32)
    patches = [source(number) for number in range(12)]
    near = [p for p in patches if (p.heat == 1).any() and p.inside.max() > 0.9]
    assert near
    sizes = [float(np.exp(p.log_diameter[tuple(at)])) for p in near for at in np.argwhere(p.heat == 1)]
    assert any(size == pytest.approx(16, rel=0.01) for size in sizes)


def test_nothing_is_learned_of_an_excluded_finding_though_it_is_a_candidate_too(luna16_folder: Path) -> None:
    scan = luna16(luna16_folder, luna16_folder / "splits.json").scans[0]
    assert scan.kept_clear == (((-26.0, 0.0, 20.0), 9.0),)
    assert scan.mistaken == ((-26.0, 10.0, -20.0),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Пациент Ю", "/a"), ("Пациент Я", "/a")),
        (("Site_1 scan", "/a"), ("site-1 scan", "/a")),
        (("scan 1", "/a"), ("scan 1", "/b")),
    ],
)
def test_no_scan_is_taken_for_another_of_nearly_its_name_or_of_another_folder(
    one: tuple[str, str], other: tuple[str, str], tmp_path: Path
) -> None:
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = SPACING_MM
    affine[3, 3] = 1
    for hu, (name, folder) in enumerate((one, other)):
        volume = Volume(np.full((20, 24, 24), hu, np.int16), affine, name, name, (None,) * 20)
        found = real_background(RealSeries(name, lambda volume=volume: volume, folder=folder), tmp_path)
        assert np.asarray(found.hu).mean() == hu


def test_nodules_without_a_border_teach_nothing_of_masks(luna16_folder: Path) -> None:
    candidates = scan_candidates(luna16(luna16_folder, luna16_folder / "splits.json").scans[0], seed=1)
    assert [c.nodule for c in candidates] == [1, 1, 0, 0]
    assert float(np.nanmean(candidates[0].hu[5:7, 18:22, 18:22].astype(float))) > -100
    mask, known = torch.zeros(1, 1, *SHAPE), torch.ones(1, 1, *SHAPE)
    labels = torch.tensor([[1.0, -1.0, -1.0]])
    drawn, none = (torch.full_like(mask, logit) for logit in (9.0, -9.0))
    a, b = (characteriser_losses(x, torch.zeros(1, 6), mask, known, labels) for x in (drawn, none))
    assert float(a["mask"]) == float(b["mask"]) == 0


def test_a_second_training_with_the_same_seed_gives_the_same_weights_and_figures(
    luna16_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thin_slabs: None
) -> None:
    """The whole recipe, in small, on a data set as released; nothing is shared between the two runs."""
    monkeypatch.setattr(backgrounds, "PHANTOM_GRID", Grid.centred((48, 64, 96), (1.5, 1.5, 1.5)))
    one, two = (
        learn(luna16(luna16_folder, luna16_folder / "splits.json"), tmp_path / run, TINY)
        for run in ("one", "two")
    )
    assert [d["name"] for d in one.data[cards.DETECTOR]] == ["chest phantoms", "LUNA16"]
    for first, second in ((one.detector, two.detector), (one.characteriser, two.characteriser)):
        theirs = second.state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in first.state_dict().items())
    for network in ("detector", "characteriser"):
        figures = [(tmp_path / run / network / "history.json").read_text() for run in ("one", "two")]
        assert figures[0] == figures[1]


FIRST_FILTERS = ("stem.0.0.weight", "stem.0.weight")  # of the detector, of the characteriser


def test_a_site_goes_on_from_what_is_installed(
    luna16_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thin_slabs: None
) -> None:
    """Two steps later the first filters are still nearly those in service; the cards name what both learned
    from."""
    monkeypatch.setattr(backgrounds, "PHANTOM_GRID", Grid.centred((48, 64, 96), (1.5, 1.5, 1.5)))
    learned = learn(
        luna16(luna16_folder, luna16_folder / "splits.json"), tmp_path, replace(TINY, start=SHIPPED_MODELS)
    )
    detector = earlier_weights(SHIPPED_MODELS, "", cards.DETECTOR, Detector(), DetectorForService)
    looks = earlier_weights(SHIPPED_MODELS, "", cards.CHARACTERISER, Characteriser(), CharacteriserForService)
    for network, start in ((learned.detector, detector), (learned.characteriser, looks)):
        assert start is not None
        first = {name: values for name, values in network.state_dict().items() if name in FIRST_FILTERS}
        assert first and all(
            (values - start[k]).norm() < 0.3 * start[k].norm() for k, values in first.items()
        )
    for data in learned.data.values():
        assert {"LUNA16", "ACRIN-NSCLC-FDG-PET 042"} <= {part["name"] for part in data}
