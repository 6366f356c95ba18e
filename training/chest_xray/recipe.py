"""How the networks of ``chest-xray`` are made and measured, from folders to a model repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from inference.catalogue import Catalogue
from inference.model_repository import sync
from inference.readers.chest_xray import FINDINGS, HEART, LUNGS
from inference.readers.radiograph import Floats
from training.begun import begin
from training.chest_xray import cards, cnn
from training.chest_xray.finding_batches import Labelled
from training.chest_xray.findings import (
    FOLDS,
    figures,
    folds_of,
    labels_of,
    patients_of,
    scattered,
    to_learn_from,
)
from training.chest_xray.heart import SCHEDULE as HEART_SCHEDULE
from training.chest_xray.heart import heart_cases, heart_network, train_heart
from training.chest_xray.joined import Heard, JoinedForService, fit_joined, has_fixed_filters, platt
from training.chest_xray.lungs import SCHEDULE, dices, lung_cases, lung_masks, lungs_on, train_lungs
from training.chest_xray.network import EvidenceForService, FindingsNetwork
from training.chest_xray.phantoms import phantom_cases
from training.chest_xray.sources import outlined_as
from training.datasets.case import Case
from training.datasets.chest_labels import CLASSES
from training.datasets.layouts import read_cases
from training.datasets.splits import write_splits
from training.errors import BrokenDataError
from training.kept import digest
from training.loop import Schedule
from training.segmenter import Segmenter, SegmenterForService, export_picture_network
from training.shipped import Weights, earlier_weights, learned_before

VERSION = 7
HEART_VERSION = 1
LUNG_PHANTOMS = 600
SPECIFICITY, SENSITIVITY = 0.9, 0.95


@dataclass(frozen=True)
class Plan:
    """How the networks are trained. ``schedule``: of the one that draws the lungs; ``heart``: of the one that
    draws the heart; ``findings``: of the one that learns its own filters; ``phantoms``: how many are learned
    from, of which the lungs take the first ``LUNG_PHANTOMS`` beside radiographs with masks. ``architecture``:
    ``cnn`` for that one alone, ``scattering`` for fixed filters beside it, whose linear layer is fitted on
    real radiographs alone. ``start``: the folder of an earlier run, or of models, whose weights are gone on
    from."""

    seed: int = 1
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule = SCHEDULE
    heart: Schedule = HEART_SCHEDULE
    findings: Schedule = cnn.SCHEDULE
    phantoms: int = 3000
    activation: str = "relu"
    architecture: str = "cnn"
    start: Path | None = None


def train(layout: str, labelled: Sequence[Path], masks: Path | None, out: Path, plan: Plan) -> Path:
    """Train the networks and write them into ``out/models``, a model repository; returns that folder.

    labelled: folders of ``layout``, one of those with labels; none of layout ``phantom``. masks: a folder
    of layout ``lung-masks``, ``montgomery`` or ``jsrt``; without, lungs are learned from phantoms alone.

    Raises:
        BrokenDataError: as ``to_learn_from`` and ``cnn.check_parts``, data that is not laid out so, no
            weights in ``plan.start`` that can be gone on from, or ``out`` of another run.
    """
    real = [] if layout == "phantom" else to_learn_from(layout, labelled)
    starts = _starts(plan)
    site = cnn.parted(real)
    if plan.architecture != "cnn":
        _check_fixed(real, plan.start)
    elif real:
        cnn.check_parts(site)
    phantoms = phantom_cases(plan.phantoms, plan.seed, out)
    drawn = cnn.parted(phantoms)
    outlines = "phantom" if masks is None else outlined_as(masks) or "lung-masks"
    outlined = phantoms if masks is None else read_cases(outlines, masks)
    beside = () if masks is None else phantoms[:LUNG_PHANTOMS]
    lungs = train_lungs(
        lung_cases(outlined),
        out / "lungs",
        plan.schedule,
        phantoms=lung_cases(beside),
        seed=plan.seed,
        resume=plan.resume,
        device=plan.device,
        start=starts.lungs,
    ).to("cpu")
    repository = out / "models"
    _train_heart(layout, phantoms, out, plan, starts.heart)
    shown = _learned_from(outlines, [masks] if masks else (), outlined)
    if plan.architecture == "cnn":
        seen = _learned_from(layout, labelled, (*site.learned, *site.held) or phantoms)
        data = cards.Data(seen, shown, plan.architecture, len(phantoms) if real else 0)
        _train_cnn(site if real else drawn, drawn, lungs, out, plan, starts.findings, data)
    else:
        seen = _learned_from(layout, labelled, real)
        data = cards.Data(seen, shown, plan.architecture, len(phantoms))
        _fit_joined(real, drawn, lungs, out, plan, starts.findings, data)
    if real:
        write_splits(out / "splits.json", _splits(real, site, plan))
    before = learned_before(plan.start, LUNGS)
    card = cards.lungs_card(VERSION, shown, layout, plan.architecture, before, phantoms=len(beside))
    export_picture_network(SegmenterForService(lungs), card, repository)
    sync(Catalogue(repository))
    return repository


def _check_fixed(real: Sequence[Case], start: Path | None) -> None:
    """Fixed filters are fitted and measured on films that the network beside them has not seen.

    Raises:
        BrokenDataError: there are none, or the network that is gone on from has learned from films.
    """
    if not real:
        raise BrokenDataError(
            "fixed filters are fitted on real radiographs; on phantoms alone give --architecture cnn"
        )
    if any(part["kind"] == "real" for part in learned_before(start, FINDINGS)):
        raise BrokenDataError(
            f"the network of {start} has learned from films, which folds by patient would count as unseen; "
            "beside fixed filters --from takes one of --layout phantom, or give --architecture cnn"
        )


def _train_heart(layout: str, phantoms: Sequence[Case], out: Path, plan: Plan, start: Weights | None) -> None:
    network = train_heart(
        heart_cases(phantoms),
        out / "heart",
        plan.heart,
        seed=plan.seed,
        resume=plan.resume,
        device=plan.device,
        start=start,
    ).to("cpu")
    before = learned_before(plan.start, HEART)
    card = cards.heart_card(HEART_VERSION, len(phantoms), layout, plan.architecture, before)
    export_picture_network(SegmenterForService(network), card, out / "models")


def _train_cnn(
    wanted: cnn.Parted,
    phantoms: cnn.Parted,
    lungs: nn.Module,
    out: Path,
    plan: Plan,
    start: Weights | None,
    data: cards.Data,
) -> None:
    """One that learns from ``wanted``, real radiographs where there are any, and phantoms alike; chosen and
    calibrated on what is held out of ``wanted``."""
    parts = [wanted] if wanted is phantoms else [wanted, phantoms]
    seen = [cnn.kept_close_ups(part.learned, lungs, out) for part in parts]
    held = cnn.kept_close_ups(wanted.held, lungs, out)
    shown = [case for part in parts for case in part.learned]
    network = _learned(seen, held, _made_from(shown, wanted.held, plan), out / "findings", plan, start)
    logits = cnn.logits_of(network, held)
    chosen_on = "a tenth of the patients, held out"
    found = calibration(logits, held.labels, chosen_on)
    cnn.rescaled(network, found.slopes, found.offsets)
    rows = metrics(figures(wanted.held, logits), data, chosen_on)
    before = learned_before(plan.start, FINDINGS)
    card = cards.findings_card(VERSION, found.points, rows, data, before)
    export_picture_network(EvidenceForService(network), card, out / "models")


def _fit_joined(
    radiographs: Sequence[Case],
    phantoms: cnn.Parted,
    lungs: nn.Module,
    out: Path,
    plan: Plan,
    start: Weights | None,
    data: cards.Data,
) -> None:
    """A network that learned from phantoms alone, so that it says the same of a radiograph whichever fold
    that lies in, and what is fitted beside it on ``radiographs`` and on the phantoms held out."""
    seen = [cnn.kept_close_ups(phantoms.learned, lungs, out)]
    held = cnn.kept_close_ups(phantoms.held, lungs, out)
    made_from = _made_from(phantoms.learned, phantoms.held, plan)
    learned = _learned(seen, held, made_from, out / "findings", plan, start)
    close = cnn.kept_close_ups(radiographs, lungs, out)
    before = learned_before(plan.start, FINDINGS)
    export_joined(radiographs, close, held, learned, out / "models", data, before)


@dataclass(frozen=True, eq=False)
class _Starts:
    """The weights that each network goes on from; None for those that begin anew."""

    lungs: Weights | None
    heart: Weights | None
    findings: Weights | None


def _splits(real: Sequence[Case], site: cnn.Parted, plan: Plan) -> dict[str, str]:
    """Patient to split; fixed filters are fitted on all."""
    if plan.architecture != "cnn":
        return {case.patient: "train" for case in real}
    found = {case.patient: "test" for case in real}
    found |= {case.patient: "train" for case in site.learned}
    return found | {case.patient: "validation" for case in site.held}


def _starts(plan: Plan) -> _Starts:
    lungs = earlier_weights(plan.start, "lungs", LUNGS, Segmenter(1, 2), SegmenterForService)
    like, options = FindingsNetwork(plan.activation), {"activation": plan.activation}
    try:
        findings = earlier_weights(
            plan.start, "findings", FINDINGS, like, EvidenceForService, options=options
        )
    except BrokenDataError as error:
        if plan.start is not None and has_fixed_filters(plan.start):
            raise BrokenDataError(_FIXED.format(plan.start / FINDINGS)) from error
        raise
    return _Starts(lungs, _start_of_heart(plan.start), findings)


def _start_of_heart(start: Path | None) -> Weights | None:
    """Earlier runs, and models of a site's own, may have none."""
    has_one = start is not None and any((start / name).is_dir() for name in ("heart", HEART))
    return earlier_weights(start, "heart", HEART, heart_network(), SegmenterForService) if has_one else None


_FIXED = (
    "{} cannot be gone on from: its filters are fixed, as those of the weights that come with Overread, and "
    "the network beside them cannot be taken out again; --from takes what --out of an earlier run was, or "
    "models that --architecture cnn made"
)


def _made_from(learned: Sequence[Case], held: Sequence[Case], plan: Plan) -> dict[str, object]:
    pictures = ((cnn.fingerprint(case), labels_of([case]).tobytes()) for case in (*learned, *held))
    return {
        "data": digest(len(learned), *pictures),
        "seed": plan.seed,
        "architecture": plan.architecture,
        "activation": plan.activation,
    }


def _learned(
    parts: Sequence[Labelled],
    held: Labelled,
    made_from: Mapping[str, object],
    out: Path,
    plan: Plan,
    start: Weights | None,
) -> FindingsNetwork:
    begin(out, made_from, resume=plan.resume, start=start)
    return cnn.train_findings(
        parts,
        held,
        out,
        plan.findings,
        seed=plan.seed,
        resume=plan.resume,
        device=plan.device,
        activation=plan.activation,
        start=start,
    ).to("cpu")


def _learned_from(layout: str, folders: Sequence[Path], cases: Sequence[Case]) -> cards.LearnedFrom:
    names, patients = tuple(folder.name for folder in folders), {case.patient for case in cases}
    return cards.LearnedFrom(layout, names, len(cases), len(patients))


def crossed_lungs(cases: Sequence[Case], out: Path, plan: Plan) -> Floats:
    """(cases, 3): ``dices`` of each radiograph as the reader would draw it by a network that saw none of its
    patient; over five folds, each learned with the same phantoms beside."""
    fitted, folds = lung_cases(cases), folds_of(cases)
    phantoms = lung_cases(phantom_cases(min(plan.phantoms, LUNG_PHANTOMS), plan.seed, out))
    found = np.zeros((len(cases), 3), np.float32)
    for fold in range(FOLDS):
        network = train_lungs(
            [case for case, k in zip(fitted, folds, strict=True) if k != fold],
            out / f"lungs-{fold}",
            plan.schedule,
            phantoms=phantoms,
            seed=plan.seed + fold,
            resume=plan.resume,
            device=plan.device,
        ).to("cpu")
        for at, case in enumerate(cases):
            if folds[at] == fold:
                found[at] = dices(lung_masks(case), lungs_on(case, network))
    return found


def export_joined(
    radiographs: Sequence[Case],
    close: Labelled,
    phantoms: Labelled,
    learned: FindingsNetwork,
    repository: Path,
    data: cards.Data,
    before: Sequence[Mapping[str, Any]] = (),
) -> None:
    """The classifier as ONNX with card, README, parity sample and Triton configuration.

    close: of each radiograph. learned: a network that saw none of them, nor of the ``phantoms``.
    Probabilities are calibrated, and operating points chosen, on logits of fits to other patients.
    """
    films, others = (
        Heard(
            np.concatenate([scattered(pictures) for pictures in seen.in_turn()]),
            cnn.logits_of(learned, seen),
            seen.labels,
        )
        for seen in (close, phantoms)
    )
    fitted, logits = fit_joined(films, patients_of(radiographs), folds_of(radiographs), others)
    chosen_on = f"{FOLDS} folds by patient"
    found = calibration(logits, films.labels, chosen_on)
    network = JoinedForService(fitted.rescaled(found.slopes, found.offsets), learned)
    rows = metrics(figures(radiographs, logits), data, chosen_on)
    card = cards.findings_card(VERSION, found.points, rows, data, before)
    export_picture_network(network, card, repository)


@dataclass(frozen=True, eq=False)
class Calibration:
    """slopes, offsets: (classes,), of Platt scaling. points: the operating points of the card."""

    slopes: Floats
    offsets: Floats
    points: dict[str, dict[str, Any]]


def calibration(logits: Floats, truth: Floats, chosen_on: str) -> Calibration:
    """Platt scaling on logits of patients that were not learned from, and the operating points of all classes
    but no finding: a class is called present at a specificity, absent below a sensitivity, and neither
    between. A class that is nowhere, or everywhere, among them stays as it is and has no points."""
    slopes, offsets = platt(logits, truth)
    points: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(CLASSES):
        known = ~np.isnan(truth[:, k])
        values, is_positive = logits[known, k], truth[known, k] > 0.5
        if name == "no_finding" or not is_positive.any() or is_positive.all():
            continue
        high = np.quantile(values[~is_positive], SPECIFICITY)
        low = min(np.quantile(values[is_positive], 1 - SENSITIVITY), high)
        for point, cut, aim in (
            (name, high, f"specificity {SPECIFICITY:g}"),
            (f"{name} absent", low, f"sensitivity {SENSITIVITY:g}: absent below it"),
        ):
            probability = float(1 / (1 + np.exp(-(cut * slopes[k] + offsets[k]))))
            points[point] = {"threshold": round(probability, 4), "chosen_for": f"{aim}, over {chosen_on}"}
    return Calibration(slopes, offsets, points)


def metrics(found: dict[str, dict[str, float]], data: cards.Data, split: str) -> list[dict[str, Any]]:
    """The card's rows of ``training.chest_xray.findings.figures`` of ``split``; none of a class that cannot
    be measured."""
    with_films = "phantom and real" if data.phantoms else "real"
    base = {
        "data_set": data.labelled.name,
        "trained_on": "phantom" if data.labelled.layout == "phantom" else with_films,
    }
    rows: list[dict[str, Any]] = []
    for name, row in found.items():
        if np.isnan(row["auroc"]):
            continue
        title = "mean AUROC" if name == "mean" else f"AUROC {name}"
        whole = {
            "metric": title,
            "value": round(row["auroc"], 3),
            "ci": [round(row["low"], 3), round(row["high"], 3)],
            "split": split,
        }
        if "positives" in row:
            whole["cases"] = int(row["positives"])
        rows.append(whole | base)
        for key, part in (
            ("within_AP", f"{split}, AP only"),
            ("within_PA", f"{split}, PA only"),
            ("among_abnormal", f"{split}, no picture without finding"),
            ("by_view_alone", "all, told nothing but AP or PA"),
        ):
            if not np.isnan(value := row.get(key, np.nan)):
                rows.append({"metric": title, "value": round(value, 3), "split": part} | base)
    return rows
