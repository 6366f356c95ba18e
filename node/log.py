"""What the node logs, and how: lines for a person or JSON for a collector, never a patient's name."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from node.quoting import silence_quotes
from node.settings import LogSettings
from storage.events import events_into_log

REPEATING = "pynetdicom.transport"  # that a peer cannot be reached; who asked it says so, and says which
TALKATIVE = ("dbos", "alembic", "uvicorn", "asyncio", "PIL", "matplotlib")


class JsonLines(logging.Formatter):
    """One object a line: at, level, logger, text and, of an error, its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(settings: LogSettings, file: Path | None = None) -> None:
    """Log to standard error from now on, or to a file."""
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")
    handler.setFormatter(JsonLines() if settings.format == "json" else plain)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    silence_quotes()
    events_into_log()
    logging.getLogger(REPEATING).setLevel(logging.CRITICAL)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
