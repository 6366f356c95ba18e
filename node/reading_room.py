"""What a reading needs around it: settings, memory, files, archives, and an engine to think with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.growth import forecast
from inference.readers import READERS
from inference.segmentation import load_frames
from inference.series import load_series
from inference.volume import Volume
from node.ahead import Ahead
from node.peers.archive import DicomArchive, Take
from node.results.identity import reading_identity
from node.results.recovery import LoadFrames
from node.settings import RouteSettings, Settings
from node.settings.routes import DEFAULT_ROUTES
from storage.archive import Archive
from storage.database import Database

COMPARED_BY: Final = (forecast.MODEL,)
"""Networks that take part in a comparison where they are installed, beside the reader's own."""


@dataclass(frozen=True)
class ReadingRoom:
    """``load`` makes a volume of a series' files, ``load_frames`` the frames of a segmentation. ``archives``:
    where priors are looked for. ``take`` keeps what they send, ``settle`` waits until all of it has its row.
    ``named_priors``: the priors of every study, by UID, where a person named them. ``wanted``: kinds of
    result objects to make whoever they go to. ``ahead``: what was read of studies that are not complete."""

    settings: Settings
    database: Database
    archive: Archive
    catalogue: Catalogue
    engine: Engine
    load: Callable[[Sequence[Path]], Volume] = load_series
    load_frames: LoadFrames = load_frames
    archives: tuple[DicomArchive, ...] = ()
    take: Take | None = None
    settle: Callable[[], object] | None = None
    named_priors: tuple[str, ...] | None = None
    wanted: frozenset[str] = frozenset()
    ahead: Ahead = field(default_factory=Ahead)

    @property
    def routes(self) -> tuple[RouteSettings, ...]:
        return self.settings.routes or DEFAULT_ROUTES

    @property
    def readers(self) -> Collection[str]:
        """The readers whose models are installed."""
        return [r.name for r in READERS.values() if set(r.models) <= set(self.catalogue.names)]

    @property
    def kinds(self) -> frozenset[str]:
        """The result objects that any destination wants; where none are wanted, SEG and SR to keep."""
        return self.wanted | kinds_for(self.settings) or frozenset({"seg", "sr"})

    def identity(
        self,
        reader: str,
        series_uid: str,
        paths: Iterable[Path],
        priors: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Of a reading of these files, compared with ``priors`` (date and identity of each) or with nothing:
        of the images, and of all weights, thresholds and settings that have a say in it."""
        asked = READERS[reader]
        wanted = (*asked.models, *asked.optional, *(COMPARED_BY if priors else ()))
        taking_part = [self.catalogue.find(name) for name in wanted if name in self.catalogue.names]
        decisive: dict[str, Any] = {"cards": [model.behaviour for model in taking_part]}
        if self.settings.engine.kind == "embedded" and self.settings.engine.provider != "onnxruntime":
            decisive["provider"] = self.settings.engine.provider
        if priors:
            decisive["priors"] = [list(prior) for prior in priors]
        models = [model.identity for model in taking_part]
        return reading_identity(reader, series_uid, (p.stem for p in paths), models, decisive)

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
        return _last_volumes(self.load, paths)

    def forget_volumes(self) -> None:
        _last_volumes.cache_clear()


@lru_cache(maxsize=3)
def _last_volumes(load: Callable[[Sequence[Path]], Volume], paths: tuple[Path, ...]) -> Volume:
    return load(paths)


def kinds_for(settings: Settings) -> frozenset[str]:
    """The result objects that any destination wants."""
    return frozenset(kind for destination in settings.destinations for kind in destination.objects)
