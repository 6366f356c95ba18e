"""Days as a person reads them."""

from __future__ import annotations


def as_day(date: str) -> str:
    """``20260131``, as DICOM writes it (PS3.5 6.2, DA), as ``2026-01-31``; nothing as ``unknown date``, and
    anything else as it is."""
    if len(date) == 8 and date.isdigit():
        return f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return date or "unknown date"
