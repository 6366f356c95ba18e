"""Plans in service: where they lie in a model's folder, what is kept of how they were made, the way back.

::

    NAME/1/model.onnx
    NAME/1/sm90.plan            in service on GPUs of compute capability 9.0
    NAME/1/sm90.json            its manifest
    NAME/1/sm90.previous.plan   what `roll_back` puts into service again, with its manifest
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from inference.catalogue import CataloguedModel
from inference.parity import ParityRow
from inference.plans.errors import PlanError
from inference.plans.stage import Precision
from inference.triton_config import plan_file


@dataclass(frozen=True)
class Manifest:
    """How a plan came to be. A plan runs only with the TensorRT and on the architecture it was built with.

    onnx_sha256: of the catalogue's weights. differences: the largest for each output, against ONNX Runtime in
    fp32 on the parity sample.
    """

    model: str
    version: int
    onnx_sha256: str
    plan_sha256: str
    precision: Precision
    tensorrt: str
    compute_capability: str
    differences: dict[str, float]


def promote(
    model: CataloguedModel,
    plan: bytes,
    *,
    precision: Precision,
    tensorrt: str,
    compute_capability: str,
    proof: list[ParityRow],
) -> Path:
    """Put a proven plan into the model's folder and keep the one it replaces; returns the plan's path.

    Triton takes it up when the model is next loaded.

    Raises:
        PlanError: the proof is missing or not passed: nothing has changed.
    """
    unproven = {t.tensor for t in model.card.outputs} - {row.tensor for row in proof}
    reasons = [_reason(row) for row in proof if not row.passed] + [
        f"{t}: not proven" for t in sorted(unproven)
    ]
    if reasons:
        raise PlanError(f"{model.card.name}: the plan is not promoted: {'; '.join(reasons)}")
    manifest = Manifest(
        model=model.card.name,
        version=model.card.version,
        onnx_sha256=model.card.sha256,
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        precision=precision,
        tensorrt=tensorrt,
        compute_capability=compute_capability,
        differences={row.tensor: row.max_error for row in proof},
    )
    path = model.weights.with_name(plan_file(compute_capability))
    for current, previous in _pairs(path):
        if current.exists():
            current.replace(previous)
    part = path.with_suffix(".part")
    part.write_bytes(plan)
    path.with_suffix(".json").write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def roll_back(model: CataloguedModel, compute_capability: str) -> Path:
    """Put the plan before the present one into service again.

    Raises:
        PlanError: there is none.
    """
    path = model.weights.with_name(plan_file(compute_capability))
    pairs = _pairs(path)
    if not all(previous.exists() for _, previous in pairs):
        raise PlanError(f"{path}: there is no earlier plan to go back to")
    for current, previous in pairs:
        previous.replace(current)
    return path


def read_manifest(path: Path) -> Manifest:
    """The manifest beside a plan."""
    return Manifest(**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))


def _pairs(path: Path) -> list[tuple[Path, Path]]:
    """Plan and manifest, and where their predecessors are kept."""
    files = (path, path.with_suffix(".json"))
    return [(file, file.with_suffix(f".previous{file.suffix}")) for file in files]


def _reason(row: ParityRow) -> str:
    return f"{row.tensor}: {row.problem or f'{row.excess:.1f} times the allowed difference'}"
