"""UIDs follow from what was read, by which weights and with which settings, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.uid import UID

from inference.findings import Axis, Code, Finding, Model
from node.results.identity import reading_identity, result_uid, tracking_uid

MODEL = Model("lung-nodules", "1.0.0", "ab" * 32)
FINDING = Finding(
    label="nodule",
    code=Code("SCT", "27925004", "Nodule"),
    center_mm=(1.0, 2.0, 3.0),
    box_mm=((0.0, 0.0, 0.0), (2.0, 4.0, 6.0)),
    image_uid="1.2.3",
    score=0.9,
    long_axis=Axis((0, 0, 0), (5, 0, 0)),
    short_axis=Axis((0, 0, 0), (0, 3, 0)),
    volume_mm3=20.0,
)


def identity(
    images: tuple[str, ...] = ("1.1", "1.2"), model: Model = MODEL, settings: dict[str, object] | None = None
) -> str:
    return reading_identity("lung-nodules", "1.9", images, [model], settings or {"threshold": 0.5})


def test_the_order_in_which_images_came_does_not_matter() -> None:
    assert identity(("1.1", "1.2")) == identity(("1.2", "1.1"))


@pytest.mark.parametrize(
    "other",
    [
        identity(images=("1.1", "1.2", "1.3")),
        identity(model=replace(MODEL, version="1.0.1")),
        identity(model=replace(MODEL, sha256="cd" * 32)),
        identity(settings={"threshold": 0.6}),
    ],
    ids=["a late image", "a model's version", "a model's weights", "a setting"],
)
def test_whatever_changes_the_result_changes_the_identity(other: str) -> None:
    assert other != identity()


def test_a_result_uid_is_valid_and_repeats() -> None:
    uid = result_uid("seg", identity())
    assert UID(uid).is_valid and uid.startswith("2.25.") and len(uid) <= 44
    assert uid == result_uid("seg", identity())


def test_each_role_has_its_own_uid() -> None:
    roles = ["seg", "sr", "sr-volumes", "pr", "sc", "ko", "series-seg"]
    assert len({result_uid(role, identity()) for role in roles}) == len(roles)


def test_a_finding_keeps_its_tracking_uid_when_only_its_measurements_change() -> None:
    same = replace(FINDING, volume_mm3=21.0, score=0.8)
    assert tracking_uid(identity(), FINDING) == tracking_uid(identity(), same)


def test_two_findings_are_tracked_apart() -> None:
    elsewhere = replace(FINDING, center_mm=(1.0, 2.0, 9.0))
    assert tracking_uid(identity(), FINDING) != tracking_uid(identity(), elsewhere)
