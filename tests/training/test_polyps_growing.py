"""A wider network that goes on from a narrower one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.polyps.growing import load_grown
from training.polyps.network import PolypNetwork
from training.segmenter import DeepLabSegmenter, Segmenter


def tried(network: nn.Module) -> nn.Module:
    """With running statistics of its own, as after a training."""
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 64, 64) * 2 - 1)
    return network.eval()


@pytest.mark.parametrize("narrow", [Segmenter(3, 1), Segmenter(3, 1, (8, 16, 24, 32))])
def test_a_grown_network_answers_at_first_as_the_narrower_one(narrow: nn.Module) -> None:
    network, picture = PolypNetwork(), torch.rand(2, 3, 64, 64) * 2 - 1
    load_grown(network, tried(narrow).state_dict())
    with torch.no_grad():
        assert torch.allclose(network.eval()(picture), narrow(picture), atol=1e-5)


def test_a_network_takes_its_own_weights() -> None:
    one, other = PolypNetwork(), PolypNetwork()
    load_grown(other, one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_what_is_new_learns() -> None:
    """Its channels are not listened to yet, but the gradient says how they should be."""
    network = PolypNetwork()
    load_grown(network, Segmenter(3, 1).state_dict())
    network(torch.rand(2, 3, 64, 64) * 2 - 1).mean().backward()
    assert all(
        p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters() if p.ndim > 1
    )


@pytest.mark.parametrize("other", [Segmenter(3, 1, (64, 64, 64, 64)), DeepLabSegmenter(3, 1)])
def test_weights_that_do_not_fit_are_refused(other: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"other layers|or narrower"):
        load_grown(PolypNetwork(), other.state_dict())
