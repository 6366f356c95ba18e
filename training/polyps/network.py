"""Trains and measures the network that draws polyps, on procedural frames alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from inference.readers.endoscopic import SIZE, fitted, scaled
from training.loop import Batch, History, Schedule, fit
from training.phantoms.endoscopy import Frame, endoscopy_frame
from training.segmenter import Segmenter, mask_loss

BATCH = 8
SCHEDULE = Schedule(steps=300, learning_rate=4e-3, warm_up=20, validate_every=300, average=0.97)


@dataclass(frozen=True, eq=False)
class PolypCase:
    """A picture, uint8 (rows, columns, 3), with its mask (rows, columns)."""

    name: str
    picture: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


def read_polyp_masks(folder: Path) -> list[PolypCase]:
    """The pictures of a folder of layout ``polyp-masks``: NAME.png beside NAME_mask.png.

    Raises:
        FileNotFoundError: there are no masks, or one has no picture.
    """
    masks = sorted(folder.glob("*_mask.png"))
    if not masks:
        raise FileNotFoundError(
            f"{folder}: no NAME_mask.png; layout polyp-masks is NAME.png beside NAME_mask.png"
        )
    cases = []
    for path in masks:
        name = path.stem.removesuffix("_mask")
        picture = folder / f"{name}.png"
        if not picture.exists():
            raise FileNotFoundError(f"{picture}: not there, but its mask {path.name} is")
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        drawn = Image.open(path).convert("L").resize(pixels.shape[1::-1], Image.Resampling.NEAREST)
        cases.append(PolypCase(name, pixels, np.asarray(drawn) > 127))
    return cases


def phantom_frames(count: int, seed: int) -> list[Frame]:
    return [endoscopy_frame(seed * 1_000_003 + k, size=SIZE) for k in range(count)]


class FrameSource:
    """Batches of frames, each turned, mirrored, moved, scaled and re-coloured by chance."""

    def __init__(self, frames: Sequence[Frame], seed: int) -> None:
        self.frames, self.seed = frames, seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        drawn = [_changed(self.frames[int(k)], rng) for k in rng.choice(len(self.frames), BATCH)]
        pictures = torch.from_numpy(np.stack([d[0] for d in drawn]).transpose(0, 3, 1, 2).copy())
        masks = torch.from_numpy(np.stack([d[1] for d in drawn])[:, None])
        return pictures.contiguous(memory_format=torch.channels_last), masks


def _changed(
    frame: Frame, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    picture, mask = np.rot90(frame.picture, turns), np.rot90(frame.mask, turns)
    if mirrored:
        picture, mask = picture[:, ::-1], mask[:, ::-1]
    zoom = rng.uniform(0.6, 1.15, 2)
    middle = (np.array(mask.shape) - 1) / 2
    offset = middle - zoom * middle + rng.normal(0, 8, 2)
    moved = np.stack(
        [
            ndimage.affine_transform(
                picture[..., k].astype(np.float32), zoom, offset, order=1, mode="nearest"
            )
            for k in range(3)
        ],
        -1,
    )
    inside = ndimage.affine_transform(mask.astype(np.float32), zoom, offset, order=1)
    gain = rng.uniform(0.8, 1.2, 3) * rng.uniform(0.8, 1.2)
    recoloured = 255 * np.clip(moved * gain / 255, 0, 1) ** np.exp(rng.normal(0, 0.15))
    return scaled(recoloured.astype(np.float32)), inside.astype(np.float32)


def train_polyps(
    frames: Sequence[Frame],
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
) -> tuple[Segmenter, History]:
    """Train on ``frames`` for the whole schedule."""
    torch.manual_seed(seed)
    network = Segmenter(3, 1)
    history = fit(
        network,
        FrameSource(frames, seed),
        mask_loss,
        lambda network: {"score": 0.0},
        out,
        Schedule(**{**schedule.__dict__, "validate_every": schedule.steps}),
        resume=resume,
        device=device,
        title="polyps",
        memory_format=torch.channels_last,
    )
    return network, history


def dice_of(network: nn.Module, cases: Sequence[PolypCase], threshold: float = 0.5) -> list[float]:
    """Of each picture at its own size, as Kvasir-SEG is scored: the mean over pictures is what counts."""
    found = []
    for case in cases:
        with torch.no_grad():
            logits = network(torch.from_numpy(fitted(case.picture).transpose(2, 0, 1).copy())[None])
        small = torch.sigmoid(logits)[0, 0].numpy()
        rows, columns = case.mask.shape
        drawn = (
            np.asarray(Image.fromarray(small).resize((columns, rows), Image.Resampling.BILINEAR)) >= threshold
        )
        whole = int(drawn.sum()) + int(case.mask.sum())
        found.append(2 * int((drawn & case.mask).sum()) / whole if whole else 1.0)
    return found
