"""``python -m tests.rereading --studies 10``: studies read, read again by a node without memory, and again
with other weights. Reading again has to give the same bytes; other weights have to give new UIDs, and reports
that name the ones they replace.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
import pydicom
import yaml
from sqlalchemy import select

from inference.catalogue import SHIPPED_MODELS, Catalogue
from inference.engine import open_engine
from node.intake.files import received_file
from node.reading import read_study
from node.reading_room import ReadingRoom
from node.settings import DestinationSettings, EngineSettings, Settings
from node.workflow import plain_step
from storage import actions, readings
from storage.archive import Archive
from storage.closing import close_quiet
from storage.database import Database, now
from storage.intake import record
from storage.tables import Study
from tests.databases import Databases, add_choice_of_database, databases_of
from tests.validators.cases import radiograph
from training.phantoms.chest import chest_phantom
from training.phantoms.dicom import Patient, write_ct_series

KINDS = ("seg", "sr", "pr", "sc", "ko")
SHAPE, SPACING_MM = (64, 112, 144), (2.5, 2.5, 2.5)


@dataclass(frozen=True)
class Reread:
    """studies; objects: how many there were; same_bytes: how many came out the same again; new_uids and
    succeeding: of those made with other weights, how many have a new UID, and how many reports there name all
    reports that they replace, of ``reports``."""

    studies: int
    objects: int
    same_bytes: int
    new_uids: int
    reports: int
    succeeding: int

    @property
    def is_perfect(self) -> bool:
        return (
            self.objects > 0
            and self.reports > 0
            and (self.objects == self.same_bytes == self.new_uids and self.reports == self.succeeding)
        )


class Desk:
    """A node without a network: what it remembers lies under ``root`` and in a database."""

    def __init__(self, root: Path, url: str, models: Path) -> None:
        destination = DestinationSettings(
            name="pacs", ae_title="PACS", host="127.0.0.1", port=4242, objects=KINDS
        )
        settings = Settings(destinations=(destination,), engine=EngineSettings(models=models))
        self._database = Database(url)
        catalogue = Catalogue(models)
        engine = open_engine(settings.engine, catalogue)
        self._room = ReadingRoom(settings, self._database, Archive(root, durable=False), catalogue, engine)

    def read(self, paths: list[Path], revision: int = 1) -> dict[str, Path]:
        """The result files by reader and name; of an earlier revision's study, it is read once more."""
        with self._database.session() as session:
            if revision == 1:
                record(session, [received_file(path, now()) for path in paths])
                uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
                session.scalars(select(Study).where(Study.uid == uid)).one().read_now = True
            else:
                uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
                actions.read_again(session, uid, "a test")
            close_quiet(session, now(), lambda study: True)
        read_study(self._room, plain_step, uid, revision)
        with self._database.snapshot() as session:
            made = readings.readings_of(session, uid, revision)
            return {
                f"{reading.body['reader']}/{Path(one.path).stem}": self._room.archive.path(one.path)
                for reading in made
                for one in reading.objects
            }

    def close(self) -> None:
        self._room.engine.close()
        self._database.close()


def reread(count: int, folder: Path, databases: Databases) -> Reread:
    """Of ``count`` studies, radiographs and chest CTs by turns."""
    studies = [_study(number, folder / f"study-{number}") for number in range(count)]
    other = _other_weights(folder / "models")
    one, another = folder / "first", folder / "second"
    with databases.new(one) as url, databases.new(another) as other_url:
        first = _all_read(Desk(one, url, SHIPPED_MODELS), studies)
        second = _all_read(Desk(another, other_url, SHIPPED_MODELS), studies)
        third = _all_read(Desk(one, url, other), studies, revision=2)
    same = sum(
        again.keys() == before.keys() and path.read_bytes() == before[name].read_bytes()
        for before, again in zip(first, second, strict=True)
        for name, path in again.items()
    )
    new = sum(
        _uid(path) not in {_uid(one) for one in before.values()}
        for before, after in zip(first, third, strict=True)
        for path in after.values()
    )
    reports = [
        _predecessors(path) == {_uid(one) for name, one in before.items() if "/sr" in name}
        for before, after in zip(first, third, strict=True)
        for name, path in after.items()
        if "/sr" in name
    ]
    return Reread(count, sum(map(len, first)), same, new, len(reports), sum(reports))


def _all_read(desk: Desk, studies: list[list[Path]], revision: int = 1) -> list[dict[str, Path]]:
    read = [desk.read(paths, revision) for paths in studies]
    desk.close()
    return read


def _study(number: int, folder: Path) -> list[Path]:
    if number % 2:
        patient = Patient(patient_id=f"REREAD-{number}")
        phantom = chest_phantom(number, SHAPE, SPACING_MM, lesions=3)
        return write_ct_series(folder, phantom.voxels, phantom.affine, patient=patient)
    (path,) = radiograph(folder).paths
    image = pydicom.dcmread(path)
    image.PatientID = f"REREAD-{number}"
    image.save_as(path)
    return [path]


def _other_weights(root: Path) -> Path:
    """The shipped models, each with another file of weights that computes the same."""
    shutil.copytree(SHIPPED_MODELS, root)
    for card in sorted(root.glob("*/model.yaml")):
        body = yaml.safe_load(card.read_text())
        weights = card.parent / str(body["version"]) / "model.onnx"
        network = onnx.load(weights)
        entry = network.metadata_props.add()
        entry.key, entry.value = "retrained", "yes"
        onnx.save(network, weights)
        before, after = body["sha256"], hashlib.sha256(weights.read_bytes()).hexdigest()
        card.write_text(card.read_text().replace(before, after))
    return root


def _uid(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _predecessors(path: Path) -> set[str]:
    report = pydicom.dcmread(path)
    return {
        str(item.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=10)
    add_choice_of_database(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, databases_of(arguments.database) as databases:
        found = reread(arguments.studies, Path(folder), databases)
    print(f"{found.studies} studies, {found.objects} objects")
    print(f"read again: {found.same_bytes} of {found.objects} are the same bytes")
    print(f"read with other weights: {found.new_uids} of {found.objects} have a new UID")
    print(f"  {found.succeeding} of {found.reports} reports name all that they replace")
    return 0 if found.is_perfect else 1


if __name__ == "__main__":
    sys.exit(main())
