"""What the network for polyps is told of its drawings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.polyps.network import polyp_loss

SIZE = 128


class Drawn(nn.Module):
    """Answers with ``logits``, whatever it is shown."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.logits


def polyp(side: int) -> Tensor:
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 20 : 20 + side, 40 : 40 + side] = 1
    return mask


def told(logits: Tensor, mask: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    network = Drawn(logits)
    parts = polyp_loss(network, (torch.zeros(1, 3, SIZE, SIZE), mask))
    parts["missed"].backward()
    assert network.logits.grad is not None
    return parts, network.logits.grad


def test_a_small_polyp_that_is_missed_says_about_as_much_as_a_large_one() -> None:
    small, large = (told(torch.full((1, 1, SIZE, SIZE), -7.0), polyp(side))[0] for side in (12, 60))
    assert small["missed"] > 0.5 * large["missed"] > 0
    assert small["cross"] < 0.1 * large["cross"]


def test_what_is_no_polyp_and_what_is_found_say_nothing_of_misses() -> None:
    mask = polyp(30)
    empty, _ = told(torch.full((1, 1, SIZE, SIZE), 7.0), torch.zeros_like(mask))
    assert empty["missed"] == 0
    found, _ = told(14 * mask - 7, mask)
    assert found["missed"] < 1e-6
    _, pull = told(torch.full((1, 1, SIZE, SIZE), -7.0), mask)
    assert (pull[mask > 0] < 0).all() and (pull[mask == 0] == 0).all()
