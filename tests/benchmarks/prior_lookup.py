"""How long priors take to find, with few and with many studies remembered.

``python -m tests.benchmarks.prior_lookup --many 1000000`` fills databases of both kinds, asks for random
patients in turn, and prints the medians and their ratio.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import typer
from sqlalchemy import text

from storage import priors
from storage.database import Database
from tests import postgres

STUDIES_OF_A_PATIENT = 4
READER = "lung-nodules"
SETUP = (
    (
        "patients",
        "id, patient_id, issuer, name, birth_date, sex",
        "i, 'P' || i, '', '', '19600101', 'O'",
        STUDIES_OF_A_PATIENT,
    ),
    (
        "studies",
        "id, uid, patient_pk, study_date, study_time, accession_number, description, source, "
        "first_image_at, last_image_at, is_open, read_now",
        "i, '1.2.' || i, (i + 3) / 4, CAST(20180115 + (i % 4) * 10000 AS TEXT), '101500', '', 'CT', 'CT1', "
        "'2024-01-15 10:15:00', '2024-01-15 10:15:00', FALSE, FALSE",
        1,
    ),
    (
        "series",
        "id, study_pk, uid, modality, number, description, body_part",
        "i, i, '1.3.' || i, 'CT', 2, 'Chest', 'CHEST'",
        1,
    ),
    (
        "instances",
        "id, series_pk, uid, sop_class, transfer_syntax, path, size, sha256, received_at, revision",
        "i, i, '1.4.' || i, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', 'images/' || i, 1, '', "
        "'2024-01-15 10:15:00', 1",
        1,
    ),
    (
        "revisions",
        "id, study_pk, number, state, stage, reason, image_count, closed_at",
        "i, i, 1, 'delivered', '', '', 1, '2024-01-15 10:15:00'",
        1,
    ),
    (
        "readings",
        "id, revision_pk, reader, series_uid, identity, body, created_at",
        f"i, i, '{READER}', '1.3.' || i, 'identity' || i, '{{}}', '2024-01-15 10:15:00'",
        1,
    ),
    (
        "findings",
        "id, reading_pk, tracking_uid, label, x_mm, y_mm, z_mm, score, long_axis_mm, short_axis_mm, "
        "volume_mm3, key_image",
        "i, i, '2.25.' || ((i + 3) / 4), 'nodule', 0, 0, 0, 0.9, 10, 8, 500, ''",
        1,
    ),
)


def main(few: int = 1_000, many: int = 1_000_000, rounds: int = 300) -> None:
    """Print, for SQLite and PostgreSQL, what a look-up takes with few and with many studies."""
    for name, open_two in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with open_two() as databases:
            for database, count in zip(databases, (few, many), strict=True):
                started = time.perf_counter()
                fill(database, count)
                print(f"{name}: {count} studies entered in {time.perf_counter() - started:.0f} s")
            medians = [1000 * statistics.median(one) for one in measure(databases, (few, many), rounds)]
            print(f"{name}: {medians[0]:.2f} ms, {medians[1]:.2f} ms, ratio {medians[1] / medians[0]:.2f}")


def find(database: Database, patient: int) -> None:
    """What a study's workflow asks before it goes to the archives."""
    with database.snapshot() as session:
        found = priors.studies_of(session, ids := [f"P{patient}"], priors.known_issuers(session, ids))
        assert len(found) == STUDIES_OF_A_PATIENT
        for study in found[1:]:
            assert priors.newest_reading(session, study.uid, READER)
            assert priors.images_of(session, study.uid)


def measure(
    databases: tuple[Database, Database],
    counts: tuple[int, int],
    rounds: int,
) -> tuple[list[float], list[float]]:
    """Seconds of each call, the databases in turn."""
    draw = random.Random(1)
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 20):
        for database, count, taken in zip(databases, counts, seconds, strict=True):
            patient = draw.randint(1, count // STUDIES_OF_A_PATIENT)
            started = time.perf_counter()
            find(database, patient)
            if number >= 20:  # the first fill caches
                taken.append(time.perf_counter() - started)
    return seconds


def fill(database: Database, count: int) -> None:
    """``count`` studies of four to a patient, each read, with one lesion that all four show."""
    database.upgrade()
    if database.is_sqlite:
        numbers = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0}) SELECT {1} FROM n"
        )
    else:
        numbers = "SELECT {1} FROM generate_series(1, {0}) AS n(i)"
    with database.session() as session:
        for table, columns, values, share in SETUP:
            if not database.is_sqlite:
                values = values.replace("'2024-01-15 10:15:00'", "TIMESTAMPTZ '2024-01-15 10:15:00Z'")
            session.execute(text(f"INSERT INTO {table} ({columns}) {numbers.format(count // share, values)}"))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


@contextmanager
def _sqlite() -> Iterator[tuple[Database, Database]]:
    with TemporaryDirectory(prefix="prior-lookup-") as folder:
        two = (Database(f"sqlite:///{folder}/few.db"), Database(f"sqlite:///{folder}/many.db"))
        yield two
        for database in two:
            database.close()


@contextmanager
def _postgresql() -> Iterator[tuple[Database, Database]]:
    with (
        postgres.server() as server,
        postgres.new_database(server) as few,
        postgres.new_database(server) as many,
    ):
        two = Database(few.render_as_string(False)), Database(many.render_as_string(False))
        yield two
        for database in two:
            database.close()


if __name__ == "__main__":
    typer.run(main)
