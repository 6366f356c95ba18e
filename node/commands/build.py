"""`overread models build`: TensorRT plans of the models, proven before they are put into service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from rich.table import Table

from inference.catalogue import Catalogue, CataloguedModel
from inference.parity import ParityRow
from inference.plans.build import build_plan, compute_capability, tensorrt
from inference.plans.errors import PlanError
from inference.plans.service import promote, roll_back
from inference.plans.stage import Precision, prove_on_cpu, stage
from inference.triton_config import plan_file
from node.commands.terminal import console, progress
from node.settings import Settings

Target = Literal["tensorrt", "tensorrt-rtx"]


def build_models(settings: Settings, names: Sequence[str], target: Target, precision: Precision) -> None:
    """Build plans of ``names``, or of all models, and print what became of each.

    With ``tensorrt``, on the GPU at hand: each plan is proven on a Triton server and promoted. With
    ``tensorrt-rtx``, on any machine: tells only whether the networks can be built.

    Raises:
        CatalogueError: one of them is not installed; told before the first is built.
        PlanError: there are none, one could not be built, or answers otherwise than its card allows.
    """
    catalogue = Catalogue(settings.engine.models)
    models = [catalogue.find(name) for name in names or catalogue.names]
    if not models:
        raise PlanError(f"there are no models in {catalogue.root}; see engine.models in the settings")
    table = Table("model", "precision", "plan", "largest difference", "seconds", "")
    failed = []
    with progress("models") as bar:
        task = bar.add_task("building", total=len(models))
        for model in models:
            name = model.card.name
            bar.update(task, description=name)
            started = time.monotonic()
            try:
                size, proof = _built(model, target, precision)
            except PlanError as error:
                failed.append(name)
                table.add_row(name, precision, "", "", "", str(error), style="red")
            else:
                worst = max(row.max_error for row in proof)
                seconds = f"{time.monotonic() - started:.1f}"
                table.add_row(name, precision, f"{size / 1e6:.1f} MB", f"{worst:.2g}", seconds, "ok")
            bar.advance(task)
    console().print(table)
    if failed:
        raise PlanError(f"not built: {', '.join(failed)}.")


def roll_back_model(settings: Settings, name: str, gpu: str | None) -> None:
    """Put the plan of ``name`` that was in service before the present one into service again; ``gpu`` is a
    compute capability, that of this machine's GPU where none is given.

    Raises:
        PlanError: there is no earlier plan, or no GPU to ask.
    """
    model = Catalogue(settings.engine.models).find(name)
    path = roll_back(model, gpu or compute_capability())
    console().print(f"{path} is the earlier plan again; Triton takes it up when it next loads {name}.")


def _built(model: CataloguedModel, target: Target, precision: Precision) -> tuple[int, list[ParityRow]]:
    """The plan's size in bytes and how it, or with TensorRT-RTX its network, compares."""
    trt = tensorrt(target.replace("-", "_"))
    with TemporaryDirectory(prefix="overread-plans-") as folder:
        staged = stage(model, precision, Path(folder))
        candidate = staged.find(model.card.name)
        proof = prove_on_cpu(staged, precision)
        if wrong := [row.tensor for row in proof if not row.passed]:
            raise PlanError(
                f"{precision} changes {', '.join(wrong)} more than model.yaml allows, already on the CPU"
            )
        if target == "tensorrt-rtx":
            return len(build_plan(trt, model.card, candidate.weights_bytes())), proof
        gpu = compute_capability()
        cache = model.folder / f"{Path(plan_file(gpu)).stem}.timing"
        plan = build_plan(trt, model.card, candidate.weights_bytes(), cache)
        candidate.weights.with_name(plan_file(gpu)).write_bytes(plan)
        from inference.plans.trial import prove_on_triton

        proof = prove_on_triton(staged, precision)
        promote(
            model,
            plan,
            precision=precision,
            tensorrt=trt.__version__,
            compute_capability=gpu,
            proof=proof,
        )
        return len(plan), proof
