"""What a study's page shows of readings that are no list of sized lesions: classes and hot spots."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi.testclient import TestClient

from inference.findings import ClassProbability, Code
from inference.reading_json import class_to_json
from storage.database import Database
from tests.node.web import rows


def shown(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_what_is_present_stands_first_what_is_never_claimed_last_and_each_class_says_so(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    classes = [
        ClassProbability("Cardiomegaly", Code("SCT", "8186001", "Cardiomegaly"), 0.42, 0.6, 0.1),
        ClassProbability("Pleural effusion", Code("SCT", "60046008", "Pleural effusion"), 0.23, 0.2, 0.1),
        ClassProbability("Normal", Code("SCT", "17621005", "Normal"), 0.92),
        ClassProbability("Edema", Code("SCT", "19242006", "Pulmonary edema"), 0.01, 0.5, 0.1),
    ]
    bodies = [class_to_json(each) for each in classes]
    with database.session() as session:
        study = rows.add_study(session)
        rows.add_reading(session, study, rows.close(session, study), data_dir, 0, classes=bodies)
    page = shown(client.get(f"/studies/{study.uid}").text)
    listed = re.findall(r'<li class="(\w+)"><span>([\w ]+)</span>.*?<em>([\w ]+)</em>', page)
    assert listed == [
        ("present", "Pleural effusion", "present"),
        ("undetermined", "Cardiomegaly", "undetermined"),
        ("absent", "Edema", "absent"),
        ("undetermined", "Normal", "never claimed"),
    ]
    assert f'<p class="muted">{classes[2].caveat}</p>' in page


def test_a_box_around_evidence_has_no_size(client: TestClient, database: Database, data_dir: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        made = rows.add_reading(session, study, rows.close(session, study), data_dir, 1)
        made.body = {**made.body, "findings": [{**made.body["findings"][0], "kind": "saliency"}]}
    page = client.get(f"/studies/{study.uid}").text
    assert 'data-label="Long × short axis" class="number">–<' in page
    assert "× 8" not in shown(page)


def test_a_hot_spot_has_its_suv_instead_of_a_density(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        made = rows.add_reading(session, study, rows.close(session, study), data_dir, 2)
        first, other = made.body["findings"]
        made.body = {**made.body, "findings": [{**first, "uptake": {"suv_max": 12.34}}, other]}
    page = client.get(f"/studies/{study.uid}").text
    assert re.findall(r'data-label="SUVmax" class="number">(.*?)<', page) == ["12.3", "–"]
    assert "SUVmax 12.3" in page
    assert "Density" not in page
