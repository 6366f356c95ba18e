"""Rows as the node writes them, for a page to show: studies in every state, with findings and deliveries."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.choices import SeriesChoice, keep_choices
from storage.contents import name_of
from storage.database import now
from storage.events import log_event
from storage.tables import (
    Delivery,
    FindingRow,
    Instance,
    Patient,
    ReadingRow,
    Refusal,
    ResultObject,
    Revision,
    Series,
    Study,
)

SOP_CLASSES = {"seg": "1.2.840.10008.5.1.4.1.1.66.4", "sr": "1.2.840.10008.5.1.4.1.1.88.34"}
ROOT = "2.25.30177"

_numbers = itertools.count(1)


def uid(number: int, *parts: int) -> str:
    return ".".join(str(part) for part in (ROOT, number, *parts))


def add_study(session: Session, images: int = 3, **columns: Any) -> Study:
    """A study whose images are still arriving, of one localizer and one thin series."""
    number = next(_numbers)
    at: datetime = columns.pop("at", None) or now()
    patient_id = columns.pop("patient_id", f"PAT-{number:05d}")
    patient = session.scalar(select(Patient).where(Patient.patient_id == patient_id))
    if patient is None:
        patient = Patient(patient_id=patient_id)
        session.add(patient)
        session.flush()
    study = Study(
        uid=columns.pop("uid", uid(number)),
        patient_pk=patient.id,
        study_date=at.strftime("%Y%m%d"),
        accession_number=columns.pop("accession_number", f"ACC{number:06d}"),
        description=columns.pop("description", "CT chest, low dose"),
        source=columns.pop("source", "CT1"),
        first_image_at=at - timedelta(seconds=9),
        last_image_at=at,
        **columns,
    )
    session.add(study)
    session.flush()
    add_series(session, study, 1, "Scout", 1, at)
    add_series(session, study, 2, "Thin axial lung 1.0", images - 1, at)
    log_event(session, "receive", "Receiving from CT1.", study_uid=study.uid)
    return study


def add_series(
    session: Session, study: Study, number: int, description: str, images: int, at: datetime
) -> Series:
    series = Series(
        study_pk=study.id,
        uid=f"{study.uid}.{number}",
        modality="CT",
        number=number,
        description=description,
        body_part="CHEST",
    )
    session.add(series)
    session.flush()
    for image in range(images):
        add_image(session, series, image, at)
    return series


def add_image(session: Session, series: Series, number: int, at: datetime) -> None:
    image_uid = f"{series.uid}.{number}"
    session.add(
        Instance(
            series_pk=series.id,
            uid=image_uid,
            sop_class="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax="1.2.840.10008.1.2.1",
            path=f"{image_uid}.dcm",
            size=525_000,
            received_at=at,
        )
    )


def close(session: Session, study: Study, **columns: Any) -> Revision:
    """Close the study with a new revision, queued unless said otherwise."""
    study.is_open = study.read_now = False
    count = (
        session.scalar(select(func.count()).select_from(Revision).where(Revision.study_pk == study.id)) or 0
    )
    defaults = {
        "number": count + 1,
        "image_count": 3,
        "closed_at": study.last_image_at + timedelta(seconds=10),
    }
    revision = Revision(study_pk=study.id, **(defaults | columns))
    session.add(revision)
    session.flush()
    return revision


def begin_reading(session: Session, study: Study, revision: Revision, stage: str = "infer") -> None:
    revision.state, revision.stage, revision.started_at = "reading", stage, now()
    choices = (
        SeriesChoice(f"{study.uid}.1", "", False, "a localizer"),
        SeriesChoice(f"{study.uid}.2", "lung-nodules", True, "the thinnest axial original"),
    )
    keep_choices(session, study.uid, revision.number, choices)
    for number, choice in enumerate(choices, 1):
        by = f" by {choice.reader}" if choice.reader else ""
        text = f"series {number} {choice.outcome}{by}: {choice.reason}"
        log_event(session, "select", text, study_uid=study.uid, revision=revision.number)


def add_reading(
    session: Session,
    study: Study,
    revision: Revision,
    data_dir: Path,
    findings: int = 2,
    roles: Sequence[str] = ("seg", "sr"),
    **body: Any,
) -> ReadingRow:
    """A reading of series 2 by ``lung-nodules`` with its findings, key images and result objects."""
    series_uid = f"{study.uid}.2"
    row = ReadingRow(
        revision_pk=revision.id,
        reader="lung-nodules",
        series_uid=series_uid,
        identity=f"{study.id:064x}",
        created_at=now(),
        body={},
    )
    shown = []
    for number in range(1, findings + 1):
        finding, as_json = _finding(study, number, data_dir)
        row.findings.append(finding)
        shown.append(as_json)
    folder = f"results/{study.uid}/{revision.number}/lung-nodules"
    row.objects = [
        ResultObject(
            kind=role.partition("-")[0],
            sop_class=SOP_CLASSES[role.partition("-")[0]],
            uid=f"{study.uid}.{revision.number}.9.{i}",
            path=f"{folder}/{role}.dcm",
        )
        for i, role in enumerate(roles)
    ]
    row.body = {
        "reader": "lung-nodules",
        "series_uid": series_uid,
        "model": {"name": "lung-nodules", "version": "1", "sha256": "ab" * 32},
        "findings": shown,
        "classes": [],
        "segments": [],
        "objects": [
            {"sop_class": o.sop_class, "sop_instance_uid": o.uid, "path": o.path} for o in row.objects
        ],
        "seconds": {"decode": 0.8, "inference": 2.1},
    } | body
    session.add(row)
    session.flush()
    text = f"lung-nodules found {findings} in 2.9 s"
    log_event(session, "infer", text, study_uid=study.uid, revision=revision.number)
    return row


def post(
    session: Session, revision: Revision, reading: ReadingRow, destination: str = "pacs"
) -> list[Delivery]:
    """Put the reading's objects into the outbox."""
    deliveries = [
        Delivery(
            revision_pk=revision.id,
            object_uid=o.uid,
            destination=destination,
            kind=o.kind,
            path=o.path,
            next_at=now(),
        )
        for o in reading.objects
    ]
    session.add_all(deliveries)
    revision.state, revision.stage = "delivering", "deliver"
    session.flush()
    return deliveries


def deliver(session: Session, study: Study, revision: Revision, deliveries: list[Delivery]) -> None:
    for delivery in deliveries:
        delivery.state, delivery.attempts, delivery.sent_at = "sent", 1, now()
        text = f"{name_of(delivery.kind, delivery.path)} is in {delivery.destination}"
        log_event(session, "deliver", text, study_uid=study.uid, revision=revision.number)
    revision.state, revision.stage, revision.finished_at = "delivered", "", now()


def read_and_deliver(session: Session, study: Study, data_dir: Path, findings: int = 2) -> Revision:
    revision = close(session, study)
    begin_reading(session, study, revision)
    reading = add_reading(session, study, revision, data_dir, findings)
    deliver(session, study, revision, post(session, revision, reading))
    return revision


def fail(session: Session, study: Study, stage: str, reason: str, state: str = "failed") -> Revision:
    revision = close(session, study, state=state, stage=stage, reason=reason, finished_at=now())
    level = "error" if state == "failed" else "warning"
    log_event(session, stage, reason, study_uid=study.uid, revision=revision.number, level=level)
    return revision


def add_refusal(session: Session, reason: str = "its pixel data ends early", **columns: Any) -> None:
    defaults = {
        "at": now(),
        "caller": "CT1",
        "address": "127.0.0.1",
        "study_uid": uid(1),
        "uid": uid(1, 2, 3),
        "sop_class": "1.2.840.10008.5.1.4.1.1.2",
        "status": 0xC000,
    }
    session.add(Refusal(reason=reason, **(defaults | columns)))


def one_in_every_state(session: Session, data_dir: Path) -> dict[str, Study]:
    """A study in each state, and what surrounds them."""
    ago = [now() - timedelta(minutes=minutes) for minutes in (0, 2, 4, 9, 25, 70, 200, 900, 4000)]
    studies = {}
    studies["receiving"] = add_study(session, images=180, at=ago[0], source="CT2")
    studies["queued"] = add_study(session, images=90, at=ago[1])
    close(session, studies["queued"])
    studies["reading"] = add_study(session, images=120, at=ago[2], description="CT thorax with contrast")
    begin_reading(session, studies["reading"], close(session, studies["reading"]))
    studies["delivering"] = study = add_study(session, images=60, at=ago[3])
    revision = close(session, study)
    reading = add_reading(session, study, revision, data_dir, findings=1)
    waiting = post(session, revision, reading)
    waiting[1].attempts, waiting[1].last_error = 4, "pacs (PACS at 127.0.0.1:4242) cannot be reached"
    waiting[0].state, waiting[0].sent_at, waiting[0].attempts = "sent", now(), 1
    studies["delivered"] = add_study(session, images=143, at=ago[4])
    read_and_deliver(session, studies["delivered"], data_dir, findings=3)
    studies["negative"] = add_study(session, images=80, at=ago[5], source="CT2")
    read_and_deliver(session, studies["negative"], data_dir, findings=0)
    studies["failed"] = add_study(session, images=12, at=ago[6], description="CT abdomen")
    reason = (
        "Series 2 has 11 slices of two sizes, 512×512 and 256×256: send the missing images and read again."
    )
    fail(session, studies["failed"], "infer", reason)
    studies["skipped"] = add_study(session, images=2, at=ago[7], source="MR1", description="MR knee")
    fail(session, studies["skipped"], "select", "nothing to read: no route takes MR of the knee", "skipped")
    studies["stored"] = add_study(session, images=70, at=ago[8], is_open=False, description="CT chest, prior")
    add_refusal(session)
    return studies


def _finding(study: Study, number: int, data_dir: Path) -> tuple[FindingRow, dict[str, Any]]:
    tracking = f"{study.uid}.77.{number}"
    path = f"results/{study.uid}/finding-{number}.png"
    draw_key_image(data_dir / path, number)
    change = {
        "prior_study_uid": uid(0),
        "prior_date": "20260522",
        "days": 182,
        "category": "increased",
        "volume_change_percent": 142.0,
        "doubling_time_days": 143.0,
        "significant": True,
        "match_confidence": 0.97,
        "forecast": {
            "days": 180,
            "points": 3,
            "volume_mm3": 2900.0,
            "low_mm3": 1900.0,
            "high_mm3": 4600.0,
            "log_linear_mm3": 3100.0,
            "malignancy": {"probability": 0.78, "low": 0.6, "high": 0.9},
        },
    }
    row = FindingRow(
        tracking_uid=tracking,
        label="nodule",
        x_mm=-42.5,
        y_mm=12.0,
        z_mm=-180.25,
        score=0.97 - 0.11 * number,
        long_axis_mm=16.1 - 3 * number,
        short_axis_mm=12.4 - 3 * number,
        volume_mm3=1240.0 / number,
        mean_hu=38.0,
        malignancy=0.71 / number,
        key_image=path,
    )
    lung_rads = {
        "guideline": "Lung-RADS 2022",
        "result": "4A",
        "statement": "Solid, 10.3 mm, baseline: category 4A.",
        "recommendation": "CT at low dose in 3 months; PET/CT may be considered.",
    }
    return row, {
        "label": "nodule",
        "tracking_uid": tracking,
        "change": change if number == 1 else None,
        "assessments": [] if number == 1 else [lung_rads],
    }


def draw_key_image(path: Path, number: int) -> None:
    """A chest slice with a nodule, its outline drawn on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("L", (512, 512), 0)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((30, 90, 482, 430), fill=150)
    draw.ellipse((70, 130, 240, 400), fill=22)
    draw.ellipse((272, 130, 442, 400), fill=22)
    draw.ellipse((232, 300, 284, 360), fill=230)
    x, y, r = 110 + 40 * number, 210 + 25 * number, 14 - 2 * number
    draw.ellipse((x - r, y - r, x + r, y + r), fill=165)
    noise = np.random.default_rng(number).normal(0, 9, (512, 512))
    shown = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)).convert("RGB")
    ImageDraw.Draw(shown).ellipse(
        (x - r - 4, y - r - 4, x + r + 4, y + r + 4), outline=(255, 190, 40), width=2
    )
    shown.save(path)
