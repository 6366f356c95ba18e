"""How networks that draw on pictures are trained: what is held out chooses their weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from training.loop import Batch, History, Schedule
from training.segmenter import mean_dice, train_segmenter


def shown(seed: int) -> Tensor:
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def misled(step: int) -> Batch:
    """Teaches to draw what is dark."""
    pictures = shown(step)
    return pictures, (pictures < 0).float()


BRIGHT = shown(-1), (shown(-1) > 0).float()


def trained(out: Path, held_out: Batch | None) -> tuple[nn.Module, History]:
    network = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        network.weight.fill_(1.0)
        network.bias.zero_()  # type: ignore[union-attr]  # it has one
    schedule = Schedule(60, 0.2, warm_up=10, validate_every=2, patience=2, average=0.5)
    return network, train_segmenter(network, misled, out, schedule, held_out=held_out)


def test_the_weights_that_draw_best_what_is_held_out_are_kept_and_the_run_ends_soon(tmp_path: Path) -> None:
    network, history = trained(tmp_path, BRIGHT)
    assert history.step < 60
    assert mean_dice(network, BRIGHT) == history.best > 0.6


def test_where_nothing_is_held_out_the_whole_schedule_is_gone_through(tmp_path: Path) -> None:
    network, history = trained(tmp_path, None)
    assert history.step == 60
    assert mean_dice(network, BRIGHT) < 0.2


def test_dice_is_the_mean_over_pictures_and_channels_and_1_where_nothing_is_nor_is_drawn() -> None:
    drawn = torch.tensor([[[[1.0, 1.0], [-1.0, -1.0]], [[-1.0] * 2] * 2]])
    true = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]], [[0.0] * 2] * 2]])
    assert mean_dice(nn.Identity(), (drawn, true)) == 0.75
