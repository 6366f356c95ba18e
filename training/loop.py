"""One training run: steps, checkpoints, early stopping, curves. Resumes where a kill left it."""

from __future__ import annotations

import io
import json
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from training.errors import BrokenDataError

Batch = tuple[Tensor, ...]
Losses = Mapping[str, Tensor]
CHECKPOINT, BEST = "checkpoint.pt", "best.pt"
_SEEDS_APART = 1_000_003
_NEVER = float("-inf")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. ``minutes`` ends a run early where it is not None; the learning rate falls
    along ``steps`` either way: from the warm-up on along a cosine, or straight over the last ``falling`` of
    them where that is less than 1. ``patience``: validations without a better score before stopping."""

    steps: int
    learning_rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 1e-4
    validate_every: int = 250
    checkpoint_every: int = 100
    patience: int = 12
    minutes: float | None = None
    average: float = 0.995
    falling: float = 1.0


@dataclass
class History:
    """What a run has shown so far: losses by step, scores by validation. ``stale``: validations since the
    best one. ``seconds``: of all processor cores, that the steps took, and nothing beside them; the one thing
    that a second run of the same seed does not repeat, and so not in ``history.json``."""

    step: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    best: float = _NEVER
    stale: int = 0
    seconds: float = 0.0


def fit(
    network: nn.Module,
    batch: Callable[[int], Batch],
    loss: Callable[[nn.Module, Batch], Losses],
    validate: Callable[[nn.Module], Mapping[str, float]],
    out: Path,
    schedule: Schedule,
    *,
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
    title: str = "training",
    memory_format: torch.memory_format = torch.channels_last_3d,
) -> History:
    """Train ``network`` in place and leave it with the weights that validated best, or with the averaged ones
    where it ends before any were validated.

    batch: the batch of a step, from the step's number alone, so that a resumed run sees what an unbroken
    one would have seen. seed: of what the network draws itself, such as what it drops out, in each step anew
    for the same reason. validate: figures of the averaged weights; ``score`` is the one to raise.
    Writes ``checkpoint.pt``, ``best.pt``, ``history.json`` and ``curves.png`` into ``out``. A run that has
    stopped early there stays stopped.

    Raises:
        BrokenDataError: the checkpoint there is of another network, or broken.
        OSError: what is to be written cannot be; the file is named.
    """
    out.mkdir(parents=True, exist_ok=True)
    network.to(device=device, memory_format=memory_format)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(schedule.average), use_buffers=True
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    rate = _rate(optimizer, schedule)
    history = History()
    checkpoint, best = out / CHECKPOINT, out / BEST
    if resume and checkpoint.exists():
        state = loaded(checkpoint)
        try:
            network.load_state_dict(state["network"])
        except RuntimeError:
            raise BrokenDataError(
                f"{checkpoint} is of another network: give a run of its own another --out"
            ) from None
        if state["rate"].get("total_steps", schedule.steps) != rate.state_dict().get(
            "total_steps", schedule.steps
        ):
            raise BrokenDataError(
                f"{checkpoint} is of a run of another length: give this one another --out, or begin anew "
                "with --fresh"
            )
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        rate.load_state_dict(state["rate"])
        history = History(**state["history"])

    def save() -> None:
        state = {
            "network": network.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rate": rate.state_dict(),
            "history": history.__dict__,
        }
        _saved(state, checkpoint)
        repeated = {name: value for name, value in history.__dict__.items() if name != "seconds"}
        (out / "history.json").write_text(json.dumps(repeated, indent=1))

    kind = device.split(":")[0]
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    task = bar.add_task(title, total=schedule.steps, completed=history.step, figures="")
    started = time.monotonic()
    network.train()
    with bar:
        while history.step < schedule.steps and history.stale < schedule.patience:
            if schedule.minutes is not None and time.monotonic() - started > 60 * schedule.minutes:
                break
            begun = time.process_time()
            torch.manual_seed(seed * _SEEDS_APART + history.step)
            inputs = tuple(t.to(device) for t in batch(history.step))
            # torch 2.13's bfloat16 gradients of small 3-D maps, on a processor, hold what memory held before
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
                parts = loss(network, inputs)
            total = torch.stack(list(parts.values())).sum()
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            rate.step()
            averaged.update_parameters(network)
            history.step += 1
            history.seconds += time.process_time() - begun
            if history.step % 20 == 0:
                row: dict[str, float] = {"step": history.step, "loss": float(total.detach())}
                history.losses.append(row | {k: float(v.detach()) for k, v in parts.items()})
            bar.update(task, completed=history.step, figures=_figures(history))
            if history.step % schedule.validate_every == 0 or history.step == schedule.steps:
                figures = {k: float(v) for k, v in _validated(averaged.module, validate).items()}
                history.scores.append({"step": history.step, **figures})
                history.stale += 1
                if figures["score"] > history.best:
                    history.best, history.stale = figures["score"], 0
                    _saved(averaged.module.state_dict(), best)
                draw_curves(history, out / "curves.png")
                save()
            elif history.step % schedule.checkpoint_every == 0:
                save()
    save()
    if not (out / "curves.png").exists() or not history.scores or history.scores[-1]["step"] < history.step:
        draw_curves(history, out / "curves.png")
    if history.best == _NEVER or not best.exists():
        _saved(averaged.module.state_dict(), best)
    network.load_state_dict(loaded(best))
    network.eval()
    return history


def loaded(path: Path) -> Any:
    """What ``torch.save`` wrote into ``path``, in memory.

    Raises:
        BrokenDataError: it is cut short, or no such file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise BrokenDataError(
            f"{path} holds no weights that can be loaded: it is cut short, or another file"
        ) from error


def _saved(state: Any, path: Path) -> None:
    """As a whole, or not at all."""
    whole, part = io.BytesIO(), path.with_suffix(".part")
    torch.save(state, whole)
    try:
        part.write_bytes(whole.getbuffer())
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    part.replace(path)


def _rate(optimizer: torch.optim.Optimizer, schedule: Schedule) -> torch.optim.lr_scheduler.LRScheduler:
    if schedule.falling < 1:
        fall, up = schedule.falling * schedule.steps, max(min(schedule.warm_up, 0.3 * schedule.steps), 1)
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / up, max(schedule.steps - step, 0) / fall)
        )
    up = min(0.3, schedule.warm_up / schedule.steps)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        schedule.learning_rate,
        schedule.steps,
        pct_start=up if up * schedule.steps > 1 else 0.0,  # up in one step: torch divides by zero
        cycle_momentum=False,
    )


def _validated(
    network: nn.Module, validate: Callable[[nn.Module], Mapping[str, float]]
) -> Mapping[str, float]:
    network.eval()
    with torch.no_grad():
        figures = validate(network)
    network.train()
    return figures


def _figures(history: History) -> str:
    recent = history.losses[-1] if history.losses else {}
    score = history.scores[-1] if history.scores else {}
    return " ".join(f"{k} {v:.3f}" for row in (recent, score) for k, v in row.items() if k != "step")


def draw_curves(history: History, path: Path) -> None:
    """Losses and validation figures by step, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="tight")
    axes = figure.subplots(1, 2)
    rows: tuple[list[dict[str, Any]], ...] = (history.losses, history.scores)
    for axis, series, name in zip(axes, rows, ("loss", "validation"), strict=True):
        for key in series[0] if series else ():
            if key != "step":
                axis.plot([r["step"] for r in series], [r[key] for r in series], label=key)
        axis.set_xlabel("step")
        axis.set_title(name)
        if series:
            axis.legend(fontsize=7)
    figure.savefig(path, dpi=110)
