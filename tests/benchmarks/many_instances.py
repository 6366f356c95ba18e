"""What one more instance costs a database of many: `python -m tests.benchmarks.many_instances --help`.

Databases of each size are filled by SQL, and batches of new instances, as the receiver enters them, are timed
on all of them in turn. Ratios within a round hardly depend on what else the machine does; seconds do.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from storage.database import Database
from storage.intake import Received, record

SLICES = 300  # instances in a study


def fill(path: Path, instances: int) -> None:
    """Studies of 300 slices, one series and one patient each. UIDs are spread as real ones are."""
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    database.close()
    studies = -(-instances // SLICES)
    at = "2026-01-01 00:00:00.000000"
    with sqlite3.connect(path, isolation_level=None) as raw:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2000000"):
            raw.execute(f"PRAGMA {pragma}")
        columns = "id, patient_id, issuer, birth_date"
        _each(raw, "patients", columns, "n, 'P' || n, '', ''", studies)
        columns = (
            "id, uid, patient_pk, study_date, study_time, accession_number, description, source,"
            "first_image_at, last_image_at, is_open, read_now"
        )
        values = f"n, {_uid('n', 1)}, n, '20260101', '', 'A' || n, 'CT', 'CT1', '{at}', '{at}', 0, 0"
        _each(raw, "studies", columns, values, studies)
        columns = "id, study_pk, uid, modality, number, description, body_part"
        _each(raw, "series", columns, f"n, n, {_uid('n', 2)}, 'CT', 2, 'thin', 'CHEST'", studies)
        columns = "id, series_pk, uid, sop_class, transfer_syntax, path, size, received_at, revision"
        values = (
            f"n, 1 + (n - 1) / {SLICES}, {_uid('n', 3)}, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1',"
            f"'images/ab/cd/' || {_uid(f'(1 + (n - 1) / {SLICES})', 1)} || '/' || {_uid('n', 3)} || '.dcm',"
            f"526000, '{at}', 1"
        )
        _each(raw, "instances", columns, values, instances)
    raw.close()


def _uid(number: str, kind: int) -> str:
    """A UID by multiplication modulo a prime: each number once, in no order."""
    return f"('1.2.826.0.1.3680043.{kind}.' || (({number} * 2654435761) % 1000000007) || '.' || {number})"


def _each(raw: sqlite3.Connection, table: str, columns: str, values: str, count: int) -> None:
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
    raw.execute(f"INSERT INTO {table} ({columns}) {numbers} SELECT {values} FROM numbers")


def batch(round_: int, number: int, size: int) -> list[Received]:
    """New instances of a new study, in the order a scanner sends them."""
    study = f"1.2.840.113619.2.{round_}.{number * 7919 % 1009}"
    return [
        Received(
            uid=f"{study}.3.{(n * 2654435761 + round_) % 1000000007}",
            sop_class="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax="1.2.840.10008.1.2.1",
            series_uid=f"{study}.2",
            study_uid=study,
            path=f"images/ab/cd/{study}/{n}.dcm",
            size=526_000,
            received_at=datetime.now(UTC),
            source="CT1",
            patient_id=f"NEW-{round_}-{number}",
        )
        for n in range(size)
    ]


def microseconds(database: Database, batches: Sequence[Sequence[Received]]) -> float:
    """For each instance."""
    started = time.perf_counter()
    for images in batches:
        with database.session() as session:
            assert record(session, images).new == len(images)
    return (time.perf_counter() - started) * 1e6 / sum(map(len, batches))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--instances", nargs="+", type=int, default=[10_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="where the databases are made")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overread-rows-", dir=chosen.folder) as folder:
        databases = []
        for count in chosen.instances:
            path = Path(folder) / f"{count}.db"
            started = time.perf_counter()
            fill(path, count)
            took = time.perf_counter() - started
            print(f"{count} rows: {path.stat().st_size / 1e6:.0f} MB, made in {took:.0f} s", flush=True)
            databases.append(Database(f"sqlite:///{path}"))
        times: list[list[float]] = [[] for _ in databases]
        for round_ in range(chosen.rounds + 1):
            batches = [batch(round_, number, chosen.batch) for number in range(5)]
            order = list(range(len(databases)))
            for place in order[round_ % len(order) :] + order[: round_ % len(order)]:
                spent = microseconds(databases[place], batches)
                if round_:
                    times[place].append(spent)
        for count, own in zip(chosen.instances, times, strict=True):
            ratios = [mine / first for mine, first in zip(own, times[0], strict=True)]
            print(
                f"{count:12} rows: {statistics.median(own):6.0f} µs an instance, "
                f"{statistics.median(ratios):.2f} of the first ({min(ratios):.2f}-{max(ratios):.2f})"
            )
        for database in databases:
            database.close()


if __name__ == "__main__":
    main()
