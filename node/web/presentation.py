"""How values look on a page: words for states, numbers with their units, moments as ages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.templating import Jinja2Templates
from markupsafe import Markup

from inference.dates import as_day
from inference.growth.forecast import in_words
from storage.database import now
from storage.dossier import DeliveryRecord, FindingRecord, ObjectRecord
from storage.overview import StudyState

TEMPLATES = Path(__file__).parent / "templates"

STATE_MEANINGS: Mapping[StudyState, str] = {
    "receiving": "Images are still arriving.",
    "queued": "Complete, and waiting for its turn.",
    "reading": "The models are at work.",
    "delivering": "Read; results are on their way.",
    "delivered": "Every result is where it should be.",
    "failed": "Something went wrong; the reason is given.",
    "skipped": "No reader reads this; the rule is given.",
    "superseded": "A newer revision took its place.",
    "stored": "Kept to be compared with; nothing of it is sent.",
}

STAGE_WORDS = {
    "receive": "receiving",
    "select": "choosing series",
    "priors": "looking for priors",
    "infer": "inference",
    "compare": "comparing with priors",
    "results": "writing results",
    "deliver": "sending",
    "node": "node",
}

KIND_WORDS = {
    "seg": "segmentation",
    "sr": "structured report",
    "pr": "presentation state",
    "sc": "summary image",
    "ko": "key objects",
    "reg": "registration",
}

ANSWERS = {
    0x0110: "the node failed to process it",
    0xA700: "to be sent again later",
    0xA900: "it is not what was announced",
    0xC000: "it cannot be understood",
    0xC001: "it contradicts what is known",
}

ROUNDING = ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h"), (float("inf"), 86400, "d"))


def page_templates() -> Jinja2Templates:
    """The templates, with every value escaped and these words and filters at hand."""
    templates = Jinja2Templates(directory=TEMPLATES)
    templates.env.trim_blocks = templates.env.lstrip_blocks = True
    templates.env.auto_reload = False
    templates.env.globals.update(
        state_meanings=STATE_MEANINGS,
        stage_words=STAGE_WORDS,
        plural=plural,
        zone=lambda: zone_of(now().astimezone()),
    )
    templates.env.filters.update(
        age=age, moment=moment, dicom_date=dicom_date, axes=axes, measured=measured,
        volume=volume, percent=percent, size=size,
        signed_percent=signed_percent, days=days, in_path=in_path, object_name=object_name,
        hounsfield=hounsfield, answer=answer, units=units, forecast=in_words,
    )  # fmt: skip
    return templates


def age(value: datetime) -> Markup:
    """How long ago; the page keeps it up to date, and shows the moment itself on hovering."""
    shown = Markup('<time datetime="{}" data-show="age" title="{}">{}</time>')
    return shown.format(value.isoformat(), clock(value), span((now() - value).total_seconds()))


def moment(value: datetime) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), clock(value))


def clock(value: datetime) -> str:
    """``2026-01-31 09:15:00 CET``, in the node's own time zone, as the days that are asked for are."""
    here = value.astimezone()
    return f"{here:%Y-%m-%d %H:%M:%S} {zone_of(here)}"


def zone_of(here: datetime) -> str:
    """``CET``, or ``UTC+03`` of a zone without a name."""
    name = here.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def span(seconds: float) -> str:
    """``42 s``, ``7 min``, ``26 h``, ``3 d``; a moment to come counts as now."""
    seconds = max(0.0, seconds)
    return next(f"{int(seconds / unit)} {word}" for below, unit, word in ROUNDING if seconds < below)


def plural(count: int, one: str, many: str) -> str:
    """``1 image``, ``12,345 images``."""
    return f"{count:,} {one if count == 1 else many}"


def dicom_date(value: str) -> str:
    """The day; empty where there is none."""
    return as_day(value) if value else ""


def axes(finding: FindingRecord) -> str:
    """``12.3 × 8.1 mm``, or whole pixels."""
    if finding.in_pixels:
        return f"{finding.long_axis_mm:.0f} × {finding.short_axis_mm:.0f} px"
    return f"{finding.long_axis_mm:.1f} × {finding.short_axis_mm:.1f} mm"


def measured(one: Mapping[str, Any]) -> str:
    """``Cardiothoracic ratio 0.47``, ``Inner transverse diameter of the chest 279 mm``."""
    value = f"{one['value']:.2f}" if one["unit"] == "{ratio}" else f"{one['value']:.0f} {one['unit']}"
    return f"{one['label']} {value}"


def volume(mm3: float) -> str:
    """``523 mm³``, from 10,000 mm³ on ``12.4 cm³``."""
    return f"{mm3 / 1000:,.1f} cm³" if mm3 >= 10_000 else f"{mm3:,.0f} mm³"


def units(words: str) -> str:
    """``>= 300 mm3``, as reading.json has it, with the signs that everything else here has."""
    return words.replace("mm3", "mm³").replace(">=", "≥").replace("<=", "≤")


def percent(probability: float) -> str:
    return f"{100 * probability:.0f} %"


def signed_percent(value: float) -> str:
    return f"{value:+.0f} %".replace("-", "\N{MINUS SIGN}")


def hounsfield(value: float) -> str:
    return f"{value:.0f} HU".replace("-", "\N{MINUS SIGN}")


def days(value: float) -> str:
    return f"{value:,.0f} days"


def object_name(made: ObjectRecord | DeliveryRecord) -> str:
    """``Changes (SR)``; by its kind alone, ``Structured report (SR)``, where its content is not known."""
    words = made.content or KIND_WORDS.get(made.kind, made.kind)
    return f"{words.capitalize()} ({made.kind.upper()})"


def answer(status: int) -> str:
    """``answered 0xA700: to be sent again later`` (PS3.4 B.2.3)."""
    return f"answered 0x{status:04X}" + (f": {ANSWERS[status]}" if status in ANSWERS else "")


def in_path(value: str) -> str:
    """One part of an address's path, whatever is in it."""
    return quote(value, safe="")


def size(count: float) -> str:
    """Bytes as ``1.4 GB`` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
