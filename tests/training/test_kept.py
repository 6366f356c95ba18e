"""What a training keeps is taken up by another run only where it was made from the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inference.volume import Volume
from training.kept import digest, kept
from training.lung_nodules.sources import RealSeries
from training.phantoms.nodules import Nodule


def again() -> dict[str, np.ndarray]:
    raise AssertionError("they are there")


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4))


def test_what_was_made_from_the_same_is_taken_up(tmp_path: Path) -> None:
    made = {"marks": np.arange(6.0).reshape(2, 3), "mask": np.array([True, False])}
    path = tmp_path / "candidates" / "phantoms"
    kept(path, (network(1), 3), lambda: made)
    found = kept(path, (network(1), 3), again)
    assert found.keys() == made.keys()
    assert all(np.array_equal(found[name], made[name]) for name in made)
    assert [file.suffix for file in path.parent.iterdir()] == [".npz"]


def test_what_was_made_from_anything_else_is_made_anew_and_both_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "phantoms"
    for made_from in ((network(1), 3), (network(2), 3), (network(1), 4)):
        kept(path, made_from, lambda value=made_from[1]: {"seed": np.array(value)})
    assert int(kept(path, (network(1), 4), again)["seed"]) == 4
    assert int(kept(path, (network(1), 3), again)["seed"]) == 3


def test_what_was_not_finished_is_made_anew(tmp_path: Path) -> None:
    def stops() -> dict[str, np.ndarray]:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        kept(tmp_path / "phantoms", (), stops)
    assert int(kept(tmp_path / "phantoms", (), lambda: {"one": np.array(1)})["one"]) == 1


def test_a_network_is_told_by_every_weight_and_by_what_its_normalisation_counted() -> None:
    one, other = network(1), network(1)
    assert digest(one) == digest(other)
    assert digest(one) == digest(one.to(memory_format=torch.channels_last_3d))
    with torch.no_grad():
        other[0].weight[3, 0, 2, 2, 2] += 1e-6
    assert digest(one) != digest(other)
    counted = network(1)
    counted(torch.ones(1, 1, 4, 4, 4))
    assert digest(one) != digest(counted)


def test_parts_do_not_run_into_each_other() -> None:
    assert len({digest(1, 23), digest(12, 3), digest(123)}) == 3


def test_a_scan_is_told_by_what_is_known_of_it_and_not_by_how_it_is_read() -> None:
    def scan(*nodules: Nodule) -> RealSeries:
        def load() -> Volume:
            raise AssertionError("nobody asked for its voxels")

        return RealSeries("1.2.3", load, nodules)

    assert digest(scan(Nodule((1.0, 2.0, 3.0), 8.0))) == digest(scan(Nodule((1.0, 2.0, 3.0), 8.0)))
    assert digest(scan(Nodule((1.0, 2.0, 3.0), 8.0))) != digest(scan(Nodule((1.0, 2.0, 3.0), 9.0)))
