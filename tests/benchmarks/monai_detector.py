"""Our networks on a chest CT, set against the network of MONAI's ``lung_nodule_ct_detection`` bundle.

``pip install --no-deps monai``, then ``python -m tests.benchmarks.monai_detector``. The bundle slides a
RetinaNet (ResNet-50, feature pyramid over two of its layers, heads of four convolutions of 256 channels) over
patches of 192 × 192 × 80 at 0.703 × 0.703 × 1.25 mm that overlap by a quarter. Its speed does not depend
on its weights, so they are random. One patch is timed each round, right after all that this node's reader
asks of its networks for the whole volume; the ratio counts all patches. Detection boxes and their
suppression come on top and are not counted.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import Annotated

import torch
import typer
from monai.networks.nets.resnet import resnet50
from rich.console import Console
from torch import nn

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.readers import READERS
from inference.volume import Volume
from tests.benchmarks.turnaround import READER, TimedEngine
from training.phantoms.chest import chest_phantom

SHAPE, SPACING_MM = (300, 512, 512), (1.0, 0.7, 0.7)
PATCH, PATCH_SPACING_MM, OVERLAP = (80, 192, 192), (1.25, 0.703, 0.703), 0.25
CHANNELS, ANCHORS = 256, 3


class RetinaNet(nn.Module):
    """The bundle's network, from the scan to class logits and box offsets of every anchor."""

    def __init__(self) -> None:
        super().__init__()
        body = resnet50(
            spatial_dims=3, n_input_channels=1, conv1_t_size=7, conv1_t_stride=(2, 2, 1), feed_forward=False
        )
        self.stem = nn.Sequential(body.conv1, body.bn1, body.act, body.maxpool)
        self.layer1, self.layer2 = body.layer1, body.layer2
        self.lateral = nn.ModuleList(nn.Conv3d(width, CHANNELS, 1) for width in (256, 512))
        self.smooth = nn.ModuleList(nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
        self.classes, self.boxes = _head(ANCHORS), _head(6 * ANCHORS)

    def forward(self, image: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        fine = self.layer1(self.stem(image))
        coarse = self.lateral[1](self.layer2(fine))
        fine = self.lateral[0](fine) + nn.functional.interpolate(coarse, size=fine.shape[2:])
        levels = [self.smooth[0](fine), self.smooth[1](coarse)]
        levels.append(nn.functional.max_pool3d(levels[-1], 1, 2))
        return [(self.classes(level), self.boxes(level)) for level in levels]


def _head(outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1), nn.GroupNorm(8, CHANNELS), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv3d(CHANNELS, outputs, 3, padding=1))


def patches() -> int:
    """How many patches cover the volume."""
    count = 1
    for size, step, patch, spacing in zip(SHAPE, SPACING_MM, PATCH, PATCH_SPACING_MM, strict=True):
        voxels = math.ceil(size * step / spacing)
        count *= max(1, math.ceil((voxels - patch) / (patch * (1 - OVERLAP))) + 1)
    return count


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 3, threads: Annotated[int, typer.Option(min=1)] = 2
) -> None:
    torch.set_num_threads(threads)
    phantom = chest_phantom(77, SHAPE, SPACING_MM, lesions=4)
    images = tuple((f"1.{number}", None) for number in range(len(phantom.voxels)))
    volume = Volume(phantom.voxels, phantom.affine, "1", "1", images)
    catalogue, network = Catalogue(), RetinaNet().eval()
    engine = TimedEngine(EmbeddedEngine(catalogue, threads))
    patch = torch.zeros(1, 1, *PATCH[1:], PATCH[0])
    ours: list[float] = []
    theirs: list[float] = []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            engine.seconds = 0.0
            READERS[READER].read(volume, engine, catalogue)
            ours.append(engine.seconds)
            started = time.perf_counter()
            network(patch)
            theirs.append((time.perf_counter() - started) * patches())
    del ours[0], theirs[0]  # the first round warms up
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    Console().print(
        f"our networks {statistics.median(ours):.2f} s, MONAI's {statistics.median(theirs):.0f} s "
        f"({patches()} patches): {statistics.median(ratios):.0f} times as long "
        f"({min(ratios):.0f} to {max(ratios):.0f} in {len(ratios)} pairs, {threads} threads)"
    )


if __name__ == "__main__":
    typer.run(main)
