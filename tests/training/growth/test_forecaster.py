"""The forecaster is made alike twice, of lesions that are as they are said to be, and measured by others."""

from pathlib import Path

import numpy as np
import pytest
import torch

from inference.catalogue import Catalogue
from inference.growth.forecast import CLASSES, logit
from training.errors import BrokenDataError
from training.evaluate.forecast import Columns, Suspected, evaluate_simulated, of_suspicions, of_volumes
from training.growth import forecaster
from training.growth.forecaster import Plan, loss, train
from training.growth.repeats import Measured, suspicion
from training.growth.series import OTHER, USUAL, Suspicion, draw_series, tabulate
from training.loop import Batch, Schedule
from training.metrics.classification import auroc


def test_two_trainings_of_one_seed_give_one_network_also_where_one_was_stopped_and_another_seed_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Schedule(steps=4, validate_every=4, checkpoint_every=1)

    def weights(run: str, seed: int) -> dict[str, torch.Tensor]:
        return train(tmp_path / run, Plan(series=512, seed=seed, schedule=schedule)).state_dict()

    one, other = weights("one", 3), weights("other", 4)
    asked = []

    def stopped(network: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        asked.append(batch)
        if len(asked) == 2:
            raise InterruptedError
        return loss(network, batch)

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(forecaster, "loss", stopped)
        weights("same", 3)
    same = weights("same", 3)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert {path.name for path in (tmp_path / "one" / "forecaster").iterdir()} >= {"best.pt", "curves.png"}
    with pytest.raises(BrokenDataError, match="another seed"):
        weights("one", 4)


@pytest.mark.parametrize("clinic", [USUAL, OTHER])
def test_benign_and_malignant_lesions_overlap_in_growth_and_suspicion(clinic) -> None:
    rng = np.random.default_rng(5)
    drawn = [draw_series(rng, clinic) for _ in range(1500)]
    malignant = np.array([one.malignant for one in drawn])
    growing = np.array([CLASSES[one.course] == "growing" for one in drawn])
    assert 0.1 < growing[~malignant].mean() < growing[malignant].mean() < 0.85
    assert 0.6 < auroc(malignant, [one.malignancy for one in drawn]) < 0.95
    assert sum(clinic.benign.values()) == pytest.approx(sum(clinic.malignant.values())) == pytest.approx(1)


def test_some_points_have_no_suspicion_and_a_series_without_any_teaches_none() -> None:
    rng = np.random.default_rng(6)
    drawn = [draw_series(rng) for _ in range(300)]
    without = np.array([all(p.malignancy is None for p in one.points) for one in drawn])
    assert 0.1 < without.mean() < 0.3
    assert (np.isnan(tabulate(drawn).malignancy_change) == without).all()


def test_what_a_suspicion_is_made_of_is_found_again_in_looks() -> None:
    true, rng = Suspicion(-1.0, 0.8, 0.9, 0.4, 0.2), np.random.default_rng(7)
    looks = []
    for nodule in range(400):
        mm, malignant = np.full(4, rng.uniform(4, 20)), bool(rng.random() < 0.5)
        said = true.read(malignant, mm, 1.0, USUAL, rng)
        looks += [Measured((0, nodule), "solid", mm[0], 1.0, 1.0, 1.0, float(p), malignant) for p in said]
    found = suspicion(looks)
    told = (found.benign, found.malignant, found.growth, found.lesion, found.visit)
    assert told == pytest.approx((-1.0, 0.8, 0.9, 0.4, 0.2), abs=0.12)
    assert logit(0.5) == 0


def test_figures_are_of_what_they_say() -> None:
    quantiles = np.array([[-0.1, 0.1, 0.3], [0.8, 1.0, 1.2], [-2.0, -1.0, -0.5], [-0.1, 0.0, 0.1]])
    told = of_volumes(
        Columns(
            change=quantiles,
            log_linear=np.array([0.4, 1.4, -0.6, 0.4]),
            truth=np.array([0.0, 1.0, -1.0, 1.0]),
            course=np.eye(3)[[1, 2, 0, 1]],
            true_course=np.array([1, 2, 0, 2]),
            rule=np.array([2, 2, 0, 2]),
            points=np.array([3, 3, 4, 8]),
            days=np.array([60.0, 90.0, 200.0, 400.0]),
        )
    )
    assert told["mae"] == pytest.approx(1.1 / 4)
    assert told["mae_ratio_to_log_linear"] == pytest.approx(1.1 / 1.8)
    assert told["mae_ratio_to_last_value"] == pytest.approx(1.1 / 3)
    assert (told["inside_90_percent"], told["course_accuracy"], told["course_accuracy_rule"]) == (0.75,) * 3
    assert (told["lesions_of_3_points"], told["mae_of_3_points"]) == (2, pytest.approx(0.05))
    assert told["lesions_from_90_to_180_days"] == told["lesions_from_365_days"] == 1
    assert told["confusion"]["growing"] == {"shrinking": 0, "stable": 1, "growing": 1}
    low, high = told["mae_ratio_to_log_linear_ci"]
    assert low < told["mae_ratio_to_log_linear"] < high


def test_figures_of_suspicions_are_beside_those_of_the_last() -> None:
    told = of_suspicions(
        Suspected(
            said=np.array([[0.3, 0.5, 0.7], [0.1, 0.2, 0.3]]),
            last=np.array([0.8, 0.2]),
            linear=np.array([0.9, 0.1]),
            truth=np.array([0.6, 0.4]),
            malignant=np.array([True, False]),
        )
    )
    assert told["malignancy_mae"] == pytest.approx(0.15)
    assert told["malignancy_mae_ratio_to_last_value"] == pytest.approx(0.3 / 0.4)
    assert told["malignancy_inside_90_percent"] == 0.5
    assert told["malignancy_auroc"] == told["malignancy_auroc_last_value"] == 1


def test_it_is_drawn_and_measured(tmp_path: Path) -> None:
    told = evaluate_simulated(None, "shifted", tmp_path, Catalogue(), lesions=40)
    assert (told["lesions"], told["split"]) == (40, "shifted")
    assert {file.name for file in tmp_path.iterdir()} == {
        "volume.png",
        "malignancy.png",
        "course.png",
        "calibration.png",
    }
