"""What a reading needs around it: settings, memory, files, and an engine to think with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.readers import READERS
from inference.volume import Volume, load_volume
from node.routing import DEFAULT_ROUTES
from node.settings import RouteSettings, Settings
from storage.archive import Archive
from storage.database import Database


@dataclass(frozen=True)
class ReadingRoom:
    settings: Settings
    database: Database
    archive: Archive
    catalogue: Catalogue
    engine: Engine

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

    def volume(self, paths: tuple[Path, ...]) -> Volume:
        """The series in these files; the last one is kept, so that two steps of a reading decode it once."""
        return _last_volume(paths)

    def forget_volume(self) -> None:
        _last_volume.cache_clear()


_last_volume = lru_cache(maxsize=1)(load_volume)
