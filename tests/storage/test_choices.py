"""What was chosen to be read is kept with the revision it was chosen for."""

from __future__ import annotations

from storage.choices import SeriesChoice, choices_of, keep_choices
from storage.database import Database
from storage.readings import find_revision
from tests.node.web import rows

SCOUT = SeriesChoice("1.2.3", "", False, "a localizer")
THIN = SeriesChoice("1.2.4", "lung-nodules", True, "thin: 1 mm; not read by: anyone\nelse")


def test_a_choice_taken_anew_takes_the_place_of_the_one_before(database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.close(session, study)
    for chosen in ([SCOUT], [SCOUT, THIN]):
        with database.session() as session:
            keep_choices(session, study.uid, 1, chosen)
    with database.session() as session:
        assert choices_of(find_revision(session, study.uid, 1)) == [SCOUT, THIN]
