"""A training run: resumable, reproducible, and ending with the weights that validated best."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training import loop
from training.errors import BrokenDataError
from training.loop import Batch, History, Schedule, fit, loaded


def line(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(16, 1, generator=generator)
    return x, 3 * x + 1


def squared(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    x, y = batch
    return {"error": ((network(x).float() - y) ** 2).mean()}


def closeness(network: nn.Module) -> dict[str, float]:
    x, y = line(10_000)
    return {"score": -((network(x) - y) ** 2).mean().item()}


def run(out: Path, schedule: Schedule) -> tuple[nn.Module, History]:
    torch.manual_seed(0)
    network = nn.Linear(1, 1)
    return network, fit(network, line, squared, closeness, out, schedule)


def test_a_run_learns_and_leaves_its_best_weights_and_curves(tmp_path: Path) -> None:
    network, history = run(tmp_path, Schedule(120, 0.2, warm_up=10, validate_every=60, average=0.8))
    assert history.best > -0.05
    assert closeness(network)["score"] == history.best
    assert {p.name for p in tmp_path.iterdir()} >= {"checkpoint.pt", "best.pt", "history.json", "curves.png"}


@pytest.mark.parametrize(("steps", "warm_up"), [(1, 1), (1, 100), (2, 1), (3, 0), (5, 1)])
def test_a_run_may_be_as_short_as_a_step(tmp_path: Path, steps: int, warm_up: int) -> None:
    torch.manual_seed(0)
    begun = nn.Linear(1, 1).weight
    network, history = run(tmp_path, Schedule(steps, 0.1, warm_up=warm_up, average=0))
    assert history.step == steps
    assert not torch.equal(next(network.parameters()), begun)


@pytest.mark.parametrize("falling", [1.0, 0.5])
def test_a_run_that_was_stopped_goes_on_as_if_it_never_had_been(tmp_path: Path, falling: float) -> None:
    schedule = Schedule(40, 0.1, validate_every=40, checkpoint_every=10, falling=falling)
    whole, _ = run(tmp_path / "whole", schedule)

    def stops_at_25(step: int) -> Batch:
        if step == 25:
            raise InterruptedError
        return line(step)

    torch.manual_seed(0)
    network = nn.Linear(1, 1)
    with pytest.raises(InterruptedError):
        fit(network, stops_at_25, squared, closeness, tmp_path / "part", schedule)
    before = loaded(tmp_path / "part" / "checkpoint.pt")["history"]["seconds"]
    resumed, history = run(tmp_path / "part", schedule)
    assert history.seconds > before > 0
    assert history.step == 40
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_a_run_drops_out_follows_from_its_seed_and_the_step_alone(tmp_path: Path) -> None:
    def weights(run: str, seed: int, batch: Callable[[int], Batch] = line) -> Tensor:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        schedule = Schedule(30, 0.1, validate_every=30, checkpoint_every=10)
        fit(network, batch, squared, closeness, tmp_path / run, schedule, seed=seed)
        return torch.cat([each.flatten() for each in network.state_dict().values()])

    def stops_at_15(step: int) -> Batch:
        if step == 15:
            raise InterruptedError
        return line(step)

    whole = weights("whole", 3)
    with pytest.raises(InterruptedError):
        weights("part", 3, stops_at_15)
    assert torch.equal(weights("part", 3), whole)
    assert not torch.equal(weights("other", 4), whole)


def test_until_the_rate_falls_a_run_does_not_depend_on_its_length(tmp_path: Path) -> None:
    def losses(steps: int) -> list[float]:
        schedule = Schedule(steps, 0.1, warm_up=5, validate_every=100, falling=0.4)
        return [row["loss"] for row in run(tmp_path / str(steps), schedule)[1].losses]

    assert losses(100)[:2] == losses(80)[:2]
    assert losses(100)[3] != losses(80)[3]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    one, _ = run(tmp_path / "one", Schedule(20, validate_every=10))
    other, _ = run(tmp_path / "other", Schedule(20, validate_every=10))
    assert torch.equal(next(one.parameters()), next(other.parameters()))


def test_a_run_without_progress_stops_early(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)
    schedule = Schedule(500, 1e-3, validate_every=5, patience=3)
    history = fit(network, line, squared, lambda _: {"score": 0.0}, tmp_path, schedule)
    assert history.step == 20


def test_a_run_that_stopped_early_stays_stopped_also_where_it_had_been_killed(tmp_path: Path) -> None:
    def killed(step: int) -> Batch:
        if step == 12:
            raise InterruptedError
        return line(step)

    def steps(batch: Callable[[int], Batch]) -> int:
        schedule = Schedule(500, 1e-3, validate_every=5, patience=2)
        return fit(nn.Linear(1, 1), batch, squared, lambda _: {"score": 0.0}, tmp_path, schedule).step

    with pytest.raises(InterruptedError):
        steps(killed)
    assert [steps(line), steps(line)] == [15, 15]


def test_a_run_of_another_network_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, Schedule(10, 0.1))
    with pytest.raises(BrokenDataError, match=r"checkpoint\.pt is of another network"):
        fit(nn.Linear(1, 2), line, squared, closeness, tmp_path, Schedule(10, 0.1))


def test_a_run_of_another_length_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, Schedule(20, 0.1))
    with pytest.raises(BrokenDataError, match=r"checkpoint\.pt is of a run of another length"):
        run(tmp_path, Schedule(30, 0.1))


def test_a_run_that_time_ends_before_it_validates_leaves_what_it_has_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on resuming, and afresh where another run has left its best weights."""
    seconds = count()
    monkeypatch.setattr(loop.time, "monotonic", lambda: 10.0 * next(seconds))
    seen = []
    for minutes, resume in ((1, True), (2, True), (1, False)):
        network = nn.Linear(1, 1)
        nn.init.constant_(network.weight, float(minutes))
        schedule = Schedule(1000, 0.1, validate_every=1000, minutes=minutes, average=0.5)
        history = fit(network, line, squared, closeness, tmp_path, schedule, resume=resume)
        learned = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["averaged"]["module.weight"]
        assert torch.equal(network.weight, learned)
        seen.append(history.step)
        (tmp_path / "curves.png").unlink()
    assert seen[0] == seen[2] < seen[1]


def test_a_full_disk_is_named_and_keeps_no_half_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as told:
        run(tmp_path, Schedule(2, 0.1, validate_every=10, checkpoint_every=1))
    assert told.value.filename == str(tmp_path / "checkpoint.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(BrokenDataError, match=r"checkpoint\.pt holds no weights .*cut short"):
        run(tmp_path, Schedule(2, 0.1))
