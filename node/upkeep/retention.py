"""Deletes what need not be kept: images that are delivered, refused objects, old records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from node.settings.upkeep import RetentionSettings
from node.upkeep.periodic import PeriodicTask
from node.upkeep.probe import Probe
from node.upkeep.steady import SteadyClock
from storage import quarantine, retention, set_aside
from storage.archive import Archive
from storage.database import Database
from storage.errors import said

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 30.0  # at the disk
SECONDS_BETWEEN_ROUNDS = 3600.0  # through all that may be too old
STUDIES_AT_ONCE = 50
RECORDS_AT_ONCE = 10_000


def check_set_aside(archive: Archive) -> Probe:
    """Whether every image that a sender was told is kept is also read. One that contradicts what came before
    is not: whoever sends the first image of a study can bring that about for all that follow."""
    count = set_aside.count(archive.set_aside)
    if not count:
        return Probe("set aside", True, "every image that was acknowledged is in its study")
    return Probe(
        "set aside",
        False,
        f"{count:,} images were acknowledged, contradict what had come before, and are not read; the study "
        "they name may be incomplete, or another patient's",
        "`overread set-aside` lists who sent them and why; name both IDs in priors.merged only if they are "
        "one person's; have a study that was sent under somebody else's ID sent again, with new UIDs; then "
        "`overread set-aside --again` has taken in what contradicts nothing any more, and "
        "`overread set-aside --delete FILE` deletes one that nobody wants",
    )


class Retention:
    """Looks at disk and quarantine twice a minute, and at everything's age once an hour, as its ``task``.

    forget_runs: deletes from the queue what ended before a moment, some of it at a time, and says how many.
    also: forget further things, once an hour, as of a moment.
    merged: patient IDs that are one patient's.
    clock: what is how old; by default one that doubts a wall clock that leaps.
    """

    def __init__(
        self,
        settings: RetentionSettings,
        database: Database,
        archive: Archive,
        forget_runs: Callable[[datetime], int],
        also: Sequence[Callable[[datetime], object]] = (),
        merged: Sequence[Sequence[str]] = (),
        clock: SteadyClock | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._archive = archive
        self._forget_runs = forget_runs
        self._also = also
        self._merged = merged
        self._clock = clock or SteadyClock()
        self._deleted = 0
        self._problem = ""
        self._refused = quarantine.Pruned(0, 0, 0)
        self._next_round = time.monotonic()
        self.task = PeriodicTask(
            "retention", self.look, SECONDS_BETWEEN_LOOKS, "what is old cannot be deleted"
        )
        self.task.wake()

    def probe(self) -> Probe:
        """What is deleted when, and whether that keeps the disk as free as it should be."""
        rules = self._settings
        kept = [f"{rules.images_days} days"] if rules.images_days else []
        if rules.images_below_free_mb:
            kept.append(f"while {rules.images_below_free_mb} MB are free")
        detail = f"images are kept {' and '.join(kept) or 'for good'}"
        if self._refused.left:
            size = self._refused.left_bytes / 1e6
            detail += f"; refused objects: {self._refused.left}, {size:,.0f} MB"
        if self._deleted:
            detail += f"; studies whose images were deleted since the start: {self._deleted}"
        if leap := self._clock.leap:
            return Probe(
                "retention",
                False,
                f"the machine's clock has leapt {leap.total_seconds() / 3600:,.0f} hours forwards; nothing "
                "is deleted for being that much older until the clock has shown its new time for a day",
                "put the machine's clock right; where it is right, nothing needs to be done",
            )
        hint = "mend or delete what holds them, or give node.data_dir a larger disk"
        return Probe("retention", not self._problem, self._problem or detail, hint if self._problem else "")

    def prune_quarantine(self) -> None:
        """Delete refused objects that are too old, or more than they may be."""
        rules = self._settings
        self._refused = quarantine.prune(
            self._archive.quarantine,
            self._clock.now() - timedelta(days=rules.quarantine_days) if rules.quarantine_days else None,
            rules.quarantine_mb << 20 if rules.quarantine_mb else None,
        )
        if self._refused.objects:
            log.info("Deleted %d refused objects; %d are left.", self._refused.objects, self._refused.left)
        if self._refused.stuck is not None:
            raise self._refused.stuck

    def make_room(self) -> None:
        """Delete the oldest studies' images until enough of the disk is free."""
        mark, hours = self._settings.images_below_free_mb << 20, self._settings.images_at_least_hours
        if not mark:
            return

        def enough() -> bool:
            return self._archive.free_bytes() >= mark

        with self._database.snapshot() as session:
            if newest := retention.newest_image_at(session):
                self._clock.know(newest)
        if not enough():
            why = f"less than {mark >> 20} MB of the disk were free"
            self._delete_before(self._clock.now_as_known() - timedelta(hours=hours), why, enough)
        if enough() or self.task.is_stopping:
            self._problem = ""
            return
        with self._database.snapshot() as session:
            failed = retention.kept_by_failure(session)
        self._problem = (
            f"less than {mark >> 20} MB of the disk are free, and no study's images may be deleted: "
            f"{failed} have failed, others are not yet delivered or came within {hours:g} hours"
        )

    def delete_what_is_old(self) -> None:
        """Delete what is older than the settings say."""
        rules, at = self._settings, self._clock.now()
        works: list[Callable[[], object]] = []
        if rules.images_days:
            before, why = at - timedelta(days=rules.images_days), f"{rules.images_days} days have passed"
            works.append(partial(self._delete_before, before, why))
        if rules.records_days:
            works.append(partial(self._forget_before, at - timedelta(days=rules.records_days)))
        _each([*works, *(partial(forget, at) for forget in self._also)])

    def _forget_before(self, moment: datetime) -> None:
        while not self.task.is_stopping:
            with self._database.session() as session:
                if not retention.forget_records(session, moment, RECORDS_AT_ONCE):
                    break
        while not self.task.is_stopping and self._forget_runs(moment):
            pass

    def _delete_before(self, moment: datetime, why: str, enough: Callable[[], bool] = lambda: False) -> None:
        """Delete the images of studies from before a moment, the oldest first, until that is enough. What
        cannot be deleted keeps no other's images here.

        Raises:
            OSError: some could not be deleted.
        """
        here: set[str] = set()
        stuck: OSError | None = None
        while True:
            with self._database.snapshot() as session:
                found = retention.releasable(session, moment, STUDIES_AT_ONCE + len(here), self._merged)
            studies = [uid for uid in found if uid not in here]
            for uid in studies:
                if self.task.is_stopping or enough():
                    studies = []
                    break
                here.add(uid)
                try:
                    if self._delete(uid, why):
                        here.remove(uid)
                except OSError as error:
                    stuck = stuck or error
            if not studies:
                break
        if stuck is not None:
            raise stuck

    def _delete(self, study_uid: str, why: str) -> bool:
        """Whether a study's images were deleted, and not wanted again meanwhile. Between parts of them others
        write to the database.

        Raises:
            OSError: one could not be; those that could are gone.
        """
        unlink = self._archive.delete_images
        rest: int | None = 0
        stuck: list[OSError] = []
        while rest is not None:
            with self._database.session() as session:
                released = retention.release(session, study_uid, why, self._merged, unlink, after=rest)
            if released is None:
                return False
            rest = released.rest
            stuck += released.stuck.values()
        if stuck:
            raise stuck[0]
        self._deleted += 1
        return True

    def look(self) -> None:
        """See to the disk, refused objects before any patient's images; once an hour to all that is old."""
        works = [self.prune_quarantine, self.make_room]
        if time.monotonic() >= self._next_round:
            works.append(self._make_round)
        _each(works)

    def _make_round(self) -> None:
        self.delete_what_is_old()
        self._next_round = time.monotonic() + SECONDS_BETWEEN_ROUNDS


def _each(works: Sequence[Callable[[], object]]) -> None:
    """Each has its turn, whatever befalls those before it.

    Raises:
        Exception: the first that one of them raised, with a note of the others.
    """
    first: Exception | None = None
    for work in works:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # the first is raised below
            if first is None:
                first = error
            else:
                first.add_note(f"and then: {said(error)}")
    if first is not None:
        raise first
