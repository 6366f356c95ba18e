"""What a reading needs around it: settings, memory, files, archives, and an engine to think with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.findings import Model
from inference.readers import READERS
from inference.series import load_series
from inference.volume import Volume
from node.peers.archive import DicomArchive, Take
from node.results.identity import reading_identity
from node.settings import RouteSettings, Settings
from node.settings.routes import DEFAULT_ROUTES
from storage.archive import Archive
from storage.database import Database


@dataclass(frozen=True)
class ReadingRoom:
    """``archives``: where priors are looked for. ``take`` keeps what they send, ``settle`` waits until all of
    it has its row. ``named_priors``: the priors of every study, by UID, where a person named them."""

    settings: Settings
    database: Database
    archive: Archive
    catalogue: Catalogue
    engine: Engine
    archives: tuple[DicomArchive, ...] = ()
    take: Take | None = None
    settle: Callable[[], None] | None = None
    named_priors: tuple[str, ...] | None = None

    @property
    def routes(self) -> tuple[RouteSettings, ...]:
        return self.settings.routes or DEFAULT_ROUTES

    @property
    def readers(self) -> Collection[str]:
        """The readers whose models are installed."""
        return [r.name for r in READERS.values() if set(r.models) <= set(self.catalogue.names)]

    @property
    def kinds(self) -> frozenset[str]:
        """The result objects that any destination wants; without a destination, SEG and SR to keep."""
        wanted = {kind for destination in self.settings.destinations for kind in destination.objects}
        return frozenset(wanted or {"seg", "sr"})

    def models_of(self, reader: str) -> list[Model]:
        return [self.catalogue.find(name).identity for name in READERS[reader].models]

    def identity(self, reader: str, series_uid: str, paths: Iterable[Path]) -> str:
        """Of a reading of these files, compared with nothing."""
        return reading_identity(reader, series_uid, (p.stem for p in paths), self.models_of(reader), {})

    def files(self, relative: Iterable[str]) -> tuple[Path, ...]:
        return tuple(self.archive.path(path) for path in relative)

    def fetch(self, archive: DicomArchive, study_uid: str, series: Sequence[str], seconds: float) -> None:
        """Have series of a study sent here; when this returns they have their rows.

        Raises:
            ArchiveAnswerError: see ``DicomArchive.fetch``.
        """
        if self.take is None or self.settle is None:
            raise RuntimeError("nothing can be fetched without a receiver")
        try:
            archive.fetch(study_uid, series, self.take, seconds)
        finally:
            self.settle()

    def volume(self, paths: tuple[Path, ...]) -> Volume:
        """The series in these files; the last few are kept, so that a reading decodes each once."""
        return _last_volumes(paths)

    def forget_volumes(self) -> None:
        _last_volumes.cache_clear()


_last_volumes = lru_cache(maxsize=3)(load_series)
