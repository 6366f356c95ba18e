"""What a node may use up, and what it keeps."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from node.settings.fields import Days, Seconds, Section, not_true

Megabytes = Annotated[int, Field(ge=0), BeforeValidator(not_true)]


class PixelsSettings(Section):
    """How much decoding a series may take. It is done in a process that may die: a series whose files are
    damaged, or meant to harm, ends its own study and nothing else."""

    memory_mb: Annotated[int, Field(ge=256), BeforeValidator(not_true)] = 6144
    """The most memory."""
    seconds: Seconds = 600
    """The most time."""


class RetentionSettings(Section):
    """What is deleted, and when. Never an image of a study that is not yet read and delivered, and never a
    finding: lesions are followed for as long as the database is kept."""

    images_days: Days = 0
    """A study's images are deleted this many days after the last of them came; 0 keeps them."""
    images_below_free_mb: Megabytes = 0
    """Delete the oldest studies' images, until there is room again, when less than this is free on the disk;
    0 never does. Give more than dicom.minimum_free_mb, below which images are refused."""
    images_at_least_hours: Annotated[float, Field(ge=0), BeforeValidator(not_true)] = 24
    """However little is free, a study's images stay for so long after the last of them came."""
    quarantine_days: Days = 30
    """Refused objects are deleted after this many days; 0 keeps them."""
    quarantine_mb: Megabytes = 10_240
    """The most that refused objects may take up, the oldest go first; no more than 100,000 are kept. 0 sets
    neither limit."""
    records_days: Days = 365
    """Lines of timelines, of refusals and of the queue are deleted after this many days; 0 keeps them."""
