"""Finds the priors of a study, here and in the archives, and brings what is to be read of them here."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from inference.dates import as_day
from node.intake.ledger import LedgerStoppedError
from node.peers.archive import ArchiveAnswerError
from node.priors.search import ChosenSeries, RemoteStudy, choose, search, seconds_left
from node.priors.study_time import StudyTime, valid_date
from node.reading_room import ReadingRoom
from node.routing.select import SeriesDescription, describe, select
from storage import fetching, priors
from storage.database import now
from storage.deleted_images import is_whole
from storage.priors import KnownStudy, PatientIdentity

log = logging.getLogger(__name__)

COMPARED_MODALITIES = ("CT",)
_MAKES_NO_SENSE = ArithmeticError, AttributeError, LookupError, TypeError, ValueError
_STILL_MOVING = timedelta(hours=1)  # an archive that we gave up on may go on sending for this long
_REGIONS = {
    "chest": r"chest|thora|lung|pulm|\bcap\b|\btap\b|body",
    "abdomen": r"abd|liver|kidney|pancr|\bcap\b|\btap\b|body",
    "pelvis": r"pelv|prostate|bladder|\bcap\b|\btap\b|body",
    "head": r"head|brain|skull|sinus|orbit",
    "neck": r"neck|carotid|larynx",
}


@dataclass(frozen=True)
class PriorSeries:
    """The series of an earlier study that a current one is set against. ``date`` is the study's, YYYYMMDD,
    empty where it has none that can be. ``identity``: of the reading that is, or will be, kept of it.
    ``revision``: of the study, that this reading stands on; 0 where it stands on all its images."""

    study_uid: str
    date: str
    series_uid: str
    identity: str
    fetched: bool = False
    revision: int = 0


@dataclass
class Search:
    """What came of looking for priors: ``notes`` for the timeline, ``unanswered`` archives with why, and the
    dates of studies that are here and cannot be read, with why."""

    found: list[PriorSeries] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    unanswered: dict[str, ArchiveAnswerError | LedgerStoppedError] = field(default_factory=dict)
    unreadable: list[tuple[str, Exception]] = field(default_factory=list)


@dataclass(frozen=True)
class _Candidate:
    """An earlier study, here or in an archive."""

    at: StudyTime
    date: str
    known: KnownStudy | None
    remote: RemoteStudy | None

    @property
    def birth_date(self) -> str:
        if self.known is not None:
            return self.known.birth_date
        return self.remote.patient.birth_date if self.remote is not None else ""


def find_priors(room: ReadingRoom, study_uid: str, reader: str, series_uid: str) -> Search:
    """The priors that the study's series is compared with, the newest first: ``[priors] at_most``, and as
    many of the same day, which take neither place nor time from those that tell of growth. Archives are asked
    within ``time_limit_seconds`` in all, and what they hold is fetched."""
    result, rules = Search(), room.settings.priors
    with room.database.snapshot() as session:
        current, patient = priors.study_and_patient(session, study_uid)
        series = {uid: room.files(paths) for uid, paths in priors.images_of(session, study_uid).items()}
    described = describe(series_uid, series[series_uid])
    if not rules.enabled:
        return result
    if described.modality not in COMPARED_MODALITIES:
        name = "PET" if described.modality == "PT" else described.modality
        result.notes.append(f"{name} is not compared with earlier studies")
        return result
    if room.named_priors is None and not patient.patient_id:
        result.notes.append("no priors were looked for: the images carry no patient ID")
        return result
    hunt = _Hunt(room, reader, current, patient, described, time.monotonic() + rules.time_limit_seconds)
    for candidate in sorted(hunt.candidates(result), key=hunt.is_of_the_day):
        like = [found for found in result.found if hunt.is_of_the_day(found) is hunt.is_of_the_day(candidate)]
        if len(like) < rules.at_most or room.named_priors is not None:
            hunt.bring(candidate, result)
    result.found.sort(key=hunt.is_of_the_day, reverse=True)
    return result


@dataclass(frozen=True)
class _Hunt:
    """One study's search: what stays the same all through it."""

    room: ReadingRoom
    reader: str
    current: KnownStudy
    patient: PatientIdentity
    series: SeriesDescription
    until: float

    def candidates(self, result: Search) -> list[_Candidate]:
        """All earlier studies that may do, the newest first; those here before those that are elsewhere."""
        if self.room.named_priors is not None:
            return sorted(self._named(self.room.named_priors), key=lambda one: one.at, reverse=True)
        ids = self.room.settings.priors.ids_of(self.patient.patient_id)
        told = self._told(ids, result)
        with self.room.database.snapshot() as session:
            known = priors.known_issuers(session, ids) | {study.patient.issuer for study in told}
            issuers = priors.issuers_of_one(self.patient.issuer, known)
            studies = priors.studies_of(session, ids, issuers)
            here = [_candidate(study) for study in studies if self._is_here(session, study)]
        uids = {self.current.uid, *(candidate.at.uid for candidate in here)}
        of_patient = [
            s for s in told if s.patient.issuer in issuers and s.uid not in uids and self._may_be_like(s)
        ]
        dated = [study for study in of_patient if valid_date(study.date, now())]
        earlier = [c for c in (*here, *map(_remote_candidate, dated)) if self._is_earlier(c)]
        alike = [candidate for candidate in earlier if self._is_born_alike(candidate)]
        result.notes += self._left_out(known, issuers)
        result.notes += _undated(of_patient)
        if others := {c.at.uid for c in earlier} - {c.at.uid for c in alike}:
            result.notes.append(
                f"{len(others)} of the earlier studies with the same patient ID left out: "
                "the date of birth is another"
            )
        return sorted(alike, key=lambda candidate: candidate.at, reverse=True)

    def is_of_the_day(self, other: _Candidate | PriorSeries) -> bool:
        """Whether it is known to be of the same day as the current study."""
        return bool(other.date) and other.date == self.current.date

    def bring(self, candidate: _Candidate, result: Search) -> None:
        """Add the candidate's series to what was found, fetched if need be; or note why not. Of a study in
        two archives the second is not asked for what the first gave."""
        if any(found.study_uid == candidate.at.uid for found in result.found):
            return
        if candidate.known is not None:
            try:
                prior = self._kept(candidate)
            except (OSError, *_MAKES_NO_SENSE) as error:
                result.unreadable.append((candidate.date, error))
                return
            if prior is not None:
                result.found.append(prior)
            return
        remote = candidate.remote
        if remote is None or remote.archive.name in result.unanswered:
            return
        try:
            self._fetch(candidate, remote, result)
        except OSError as error:
            result.unreadable.append((candidate.date, error))
        except (ArchiveAnswerError, LedgerStoppedError) as error:
            result.unanswered[remote.archive.name] = error
        except _MAKES_NO_SENSE as error:
            log.warning("A study in %s makes no sense", remote.archive.name, exc_info=error)
            result.notes.append(
                f"the study of {as_day(remote.date)} in {remote.archive.name} is left out: "
                f"what the archive tells of it makes no sense ({type(error).__name__})"
            )

    def _named(self, uids: Sequence[str]) -> list[_Candidate]:
        with self.room.database.snapshot() as session:
            studies = [priors.study_and_patient(session, uid)[0] for uid in uids]
            here = [study for study in studies if self._is_here(session, study)]
        return [_candidate(study) for study in here if study.uid != self.current.uid]

    def _is_here(self, session: Session, study: KnownStudy) -> bool:
        """Whether the images that the reader compares with are; of a study that was deleted, or perhaps
        fetched in part, those of the series it has read. Else the archive is asked again."""
        if study.has_images and not study.fetched:
            return True
        reading = priors.newest_reading(session, study.uid, self.reader)
        return reading is not None and is_whole(session, str(reading.body["series_uid"]))

    def _told(self, ids: Sequence[str], result: Search) -> list[RemoteStudy]:
        """What archives hold under the IDs, of whatever modality: each names who gave out its ID."""
        told: list[RemoteStudy] = []
        for archive in self.room.archives:
            try:
                studies = search(archive, ids, self.until)
            except ArchiveAnswerError as error:
                result.unanswered[archive.name] = error
                continue
            result.answered.append(archive.name)
            told += studies
        return told

    def _may_be_like(self, study: RemoteStudy) -> bool:
        """Whether it may have a series of the current one's modality."""
        return not study.modalities or self.series.modality in study.modalities

    def _left_out(self, known: Collection[str], issuers: Collection[str]) -> list[str]:
        """What to say where studies are left because nobody knows who gave out their ID, or this one's."""
        if not self.patient.issuer and set(known) - set(issuers):
            who = "name an issuer of the patient ID are left out: this one names none"
        elif "" in set(known) - set(issuers):
            who = "name no issuer of the patient ID are left out"
        else:
            return []
        return [f"studies that {who}, and more than one has given out that ID"]

    def _is_born_alike(self, candidate: _Candidate) -> bool:
        """Whether both dates of birth are the same, or one is not told: an ID may have been given twice."""
        return len({candidate.birth_date, self.patient.birth_date} - {""}) < 2

    def _is_earlier(self, candidate: _Candidate) -> bool:
        here = self.current
        at = StudyTime.of(here.date, here.time, here.uid, here.received)
        oldest = at.day - timedelta(days=self.room.settings.priors.oldest_days)
        return candidate.at < at and candidate.at.day >= oldest

    def _kept(self, candidate: _Candidate) -> PriorSeries | None:
        """What is to be compared with of a study that is here: as it was read, or as it would be."""
        uid, known = candidate.at.uid, candidate.known
        fetched = known is not None and known.fetched
        with self.room.database.snapshot() as session:
            reading = priors.newest_reading(session, uid, self.reader)
            files = {s: self.room.files(paths) for s, paths in priors.images_of(session, uid).items()}
        if not files or not all(path.exists() for paths in files.values() for path in paths):
            return None  # deleted meanwhile
        if reading is not None and self.room.archive.has_reading(reading.identity):
            series_uid = str(reading.body["series_uid"])
            if series_uid not in files or not self._is_relevant(describe(series_uid, files[series_uid][:1])):
                return None
            return PriorSeries(uid, candidate.date, series_uid, reading.identity, fetched, reading.revision)
        described = [describe(series_uid, paths) for series_uid, paths in files.items()]
        choices = select(described, self.room.routes, self.room.readers)
        chosen = next((c.series_uid for c in choices if c.chosen and c.reader == self.reader), None)
        series = next((one for one in described if one.series_uid == chosen), None)
        if chosen is None or series is None or series.problem or not self._is_relevant(series):
            return None
        identity = self.room.identity(self.reader, chosen, files[chosen])
        return PriorSeries(uid, candidate.date, chosen, identity, fetched)

    def _fetch(self, candidate: _Candidate, study: RemoteStudy, result: Search) -> None:
        chosen = choose(study, self.reader, self.room.routes, self.room.readers, self.until)
        if chosen is None or not self._is_relevant(chosen.series):
            return
        self._receive(study, chosen)
        brought = self._kept(_Candidate(candidate.at, candidate.date, self._known(study.uid), None))
        count = chosen.series.images
        result.notes.append(
            f"{count} images of {as_day(study.date)} fetched from {study.archive.name}: "
            f"series {chosen.series.number or chosen.series.series_uid}, {chosen.series.description!r}"
        )
        if brought is None:
            result.notes.append(
                f"the study of {as_day(study.date)} cannot be read by {self.reader} after all"
            )
        else:
            result.found.append(brought)

    def _receive(self, study: RemoteStudy, chosen: ChosenSeries) -> None:
        left = seconds_left(study.archive, self.until)
        until = now() + timedelta(seconds=left) + _STILL_MOVING
        with self.room.database.session() as session:
            fetching.expect(
                session, study.uid, study.patient, study.date, study.time, study.description, until
            )
        series = [chosen.series.series_uid, *chosen.results]
        self.room.fetch(study.archive, study.uid, series, left)
        with self.room.database.session() as session:
            fetching.arrived(session, study.uid)

    def _known(self, study_uid: str) -> KnownStudy:
        with self.room.database.snapshot() as session:
            return priors.study_and_patient(session, study_uid)[0]

    def _is_relevant(self, series: SeriesDescription) -> bool:
        if series.modality != self.series.modality:
            return False
        if not self.room.settings.priors.same_body_part or self.room.named_priors is not None:
            return True
        return same_body_part(self.series.tag("BodyPartExamined"), series.tag("BodyPartExamined"))


def _candidate(study: KnownStudy) -> _Candidate:
    at = StudyTime.of(study.date, study.time, study.uid, study.received)
    return _Candidate(at, study.date if valid_date(study.date, study.received) else "", study, None)


def _remote_candidate(study: RemoteStudy) -> _Candidate:
    return _Candidate(StudyTime.of(study.date, study.time, study.uid, now()), study.date, None, study)


def _undated(studies: Sequence[RemoteStudy]) -> list[str]:
    """For each archive, how many of its studies are left out because nobody knows if they are earlier."""
    counts = Counter(study.archive.name for study in studies if not valid_date(study.date, now()))
    return [
        f"{count} of the patient's studies in {name} left out: without a date, or one that can be"
        for name, count in counts.items()
    ]


def same_body_part(one: str, other: str) -> bool:
    """Whether two Body Part Examined values may show the same lesion: the same region, or one not named."""
    if not one.strip() or not other.strip() or one.casefold() == other.casefold():
        return True
    regions, others = _regions(one), _regions(other)
    return not regions or not others or bool(regions & others)


def identity_with(
    room: ReadingRoom, reader: str, series_uid: str, paths: Sequence[Path], others: Sequence[PriorSeries]
) -> str:
    """The identity of a reading that was compared with ``others``; without any, that of the reading."""
    return room.identity(reader, series_uid, paths, [(prior.date, prior.identity) for prior in others])


def _regions(body_part: str) -> set[str]:
    return {name for name, words in _REGIONS.items() if re.search(words, body_part, re.IGNORECASE)}
