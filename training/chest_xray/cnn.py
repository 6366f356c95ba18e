"""Trains the network that learns its own filters for findings, from mini-batches, and calibrates it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.readers.radiograph import FINDINGS_SIZE, Floats
from training.chest_xray.finding_batches import FindingSource, Labelled, packed
from training.chest_xray.findings import close_ups, labels_of
from training.chest_xray.lungs import drawn_lungs
from training.chest_xray.network import FindingsNetwork
from training.datasets.case import Case
from training.datasets.splits import HELD_OUT, SHARES, learned_and_held
from training.errors import BrokenDataError
from training.kept import digest
from training.loop import Batch, Schedule, fit
from training.metrics.classification import auroc
from training.shipped import Weights, recount

SCHEDULE = Schedule(
    steps=8000, learning_rate=3e-3, warm_up=50, weight_decay=1e-3, validate_every=500, average=0.99
)


@dataclass(frozen=True, eq=False)
class Parted:
    """Radiographs that the network learns from, and those of other patients that it is chosen and calibrated
    on."""

    learned: tuple[Case, ...]
    held: tuple[Case, ...]


def parted(cases: Sequence[Case]) -> Parted:
    """By patient. Of what a release leaves for training, nine of ten patients are learned from; where it has
    no splits, those of the splits train and validation of ``split_of``, whose test lies in neither part."""
    without = any(case.split is None for case in cases)
    learned, held = learned_and_held(cases, SHARES if without else HELD_OUT)
    return Parted(tuple(learned), tuple(held))


def check_parts(parts: Parted) -> None:
    """That ``parts`` suffice to learn from and to choose the network on.

    Raises:
        BrokenDataError: no radiographs in one of them, or no class that both is there and is not among those
            held out.
    """
    for cases, meant in ((parts.learned, "learned from"), (parts.held, "held out to choose the network on")):
        if not cases:
            raise BrokenDataError(
                f"no patient is among those {meant} ({len(parts.learned)} radiographs to learn from, "
                f"{len(parts.held)} held out): give more patients, or --architecture scattering, which needs "
                "none held out"
            )
    truth = labels_of(parts.held)
    if not ((truth == 1).any(0) & (truth == 0).any(0)).any():
        raise BrokenDataError(
            f"the {len(parts.held)} radiographs held out to choose the network on are alike in every class: "
            "give more patients, or --architecture scattering, which needs none held out"
        )


def fingerprint(case: Case) -> tuple[object, ...]:
    """What its close-up is made from: its file, or the pixels of one that has none."""
    if case.file is None:
        return case.id, digest(case.load().pixels.tobytes())
    state = case.file.stat()
    return case.id, str(case.file.resolve()), state.st_size, state.st_mtime_ns


def kept_close_ups(cases: Sequence[Case], lungs: nn.Module, out: Path) -> Labelled:
    """What the classifier sees of each case within the box of the lungs that a network draws: in a file in
    ``out`` that is read piece by piece, as there may be more than memory holds."""
    path = out / f"close-{digest(lungs, *map(fingerprint, cases))}.npy"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        kept = np.lib.format.open_memmap(part, "w+", np.uint8, (len(cases), FINDINGS_SIZE, FINDINGS_SIZE))
        at = 0
        for pictures in close_ups(cases, partial(drawn_lungs, lungs)):
            kept[at : at + len(pictures)] = packed(pictures)
            at += len(pictures)
        kept.flush()
        part.replace(path)
    return Labelled(np.load(path, mmap_mode="r"), labels_of(cases))


def train_findings(
    parts: Sequence[Labelled],
    held: Labelled,
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
    activation: str = "relu",
    start: Weights | None = None,
) -> FindingsNetwork:
    """The network as it told ``held`` best. Every batch is drawn from all ``parts`` alike.

    start: weights to begin with, of the same activation.
    """
    torch.manual_seed(seed)
    network = FindingsNetwork(activation)
    source = FindingSource(parts, seed)
    if start is not None:
        network.load_state_dict(start)
        recount(network, source)
    fit(
        network,
        source,
        finding_loss,
        lambda averaged: {"score": _told(logits_of(averaged, held, device), held.labels)},
        out,
        schedule,
        seed=seed,
        resume=resume,
        device=device,
        title="findings",
        memory_format=torch.channels_last,
    )
    return network


def finding_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropy of each class of each radiograph that is known; ``batch``: pictures, labels in 0..1 or
    NaN."""
    pictures, labels = batch
    logits = network(pictures).float().sum((2, 3))
    known = ~torch.isnan(labels)
    whole = functional.binary_cross_entropy_with_logits(
        logits, torch.where(known, labels, 0.0), weight=known.float(), reduction="sum"
    )
    return {"cross": whole / known.sum().clamp(min=1)}


def logits_of(network: nn.Module, seen: Labelled, device: str = "cpu") -> Floats:
    """(pictures, classes)."""
    network.eval()
    found = []
    with torch.no_grad():
        for pictures in seen.in_turn():
            batch = torch.from_numpy(pictures)[:, None].to(device)
            evidence = network(batch.contiguous(memory_format=torch.channels_last))
            found.append(evidence.sum((2, 3)).float().cpu().numpy())
    return np.concatenate(found)


def _told(logits: Floats, labels: Floats) -> float:
    """Mean AUROC of the classes that are there and are not; 0.5 of none."""
    scores = []
    for values, column in zip(logits.T, labels.T, strict=True):
        known = ~np.isnan(column)
        is_positive = column[known] > 0.5
        if is_positive.any() and not is_positive.all():
            scores.append(auroc(is_positive, values[known]))
    return float(np.mean(scores)) if scores else 0.5


def rescaled(network: FindingsNetwork, slopes: Floats, offsets: Floats) -> None:
    """Have the logits of each class be ``slope * logit + offset``."""
    with torch.no_grad():
        scale, added = torch.from_numpy(slopes), torch.from_numpy(offsets)
        network.out.weight.mul_(scale[:, None, None, None])
        assert network.out.bias is not None
        network.out.bias.mul_(scale).add_(added)
