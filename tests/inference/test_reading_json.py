"""A reading survives being written down."""

import json
from dataclasses import replace

import numpy as np

from inference import reading_json
from inference.findings import (
    Assessment,
    Axis,
    Caveat,
    Change,
    ClassProbability,
    Code,
    Finding,
    Mask,
    Measurement,
    Model,
    Reading,
    Response,
    Segment,
    SolidPart,
)

NODULE = Code("SCT", "27925004", "Nodule")
LUNG = Code("SCT", "39607008", "Lung")


def _reading() -> Reading:
    blob = np.zeros((3, 5, 7), bool)
    blob[1, 2:4, 1:6] = True
    finding = Finding(
        label="nodule",
        code=NODULE,
        center_mm=(1.5, -2.0, 3.25),
        box_mm=((0.0, -4.0, 2.0), (3.0, 0.0, 4.5)),
        image_uid="1.2.3",
        frame=4,
        score=0.9,
        long_axis=Axis((0.0, 0.0, 0.0), (3.0, 4.0, 0.0)),
        short_axis=Axis((0.0, 0.0, 0.0), (0.0, 0.0, 2.0)),
        volume_mm3=33.5,
        mean_hu=-12.0,
        malignancy=0.25,
        tracking_uid="2.25.7",
        site=LUNG,
        solid=SolidPart(6.5, -20.0),
        assessments=(Assessment("Lung-RADS 2022", "4A", "Growing.", "CT in 3 months."),),
        change=Change(
            "1.9",
            "20200101",
            100,
            "increased",
            42.0,
            143.0,
            True,
            0.9,
            prior_solid=SolidPart(0.0, None),
        ),
        interpolated=0.25,
        cut=True,
        mask=Mask((10, 20, 30), blob),
    )
    return Reading(
        reader="lung-nodules",
        series_uid="1.2",
        models=(Model("detector", "1", "ab"), Model("characteriser", "2", "cd")),
        findings=(finding, replace(finding, change=None, mask=None)),
        classes=(ClassProbability("effusion", Code("SCT", "60046008", "Pleural effusion"), 0.75),),
        segments=(Segment("lung", LUNG, volume_mm3=5.0, mask=Mask((0, 0, 0), np.ones((1, 2, 3), bool))),),
        seconds={"inference": 1.5},
        caveats=(Caveat("unread", "2 images were not read.", 2), Caveat("assumed", "Fasting.")),
        measurements=(
            Measurement(
                "Width",
                Code("99OVERREAD", "W", "Width"),
                12.5,
                "mm",
                "1.2.3",
                (Axis((1.0, 2.0, 0.0), (4.5, 2.0, 0.0)),),
                site=LUNG,
                caveat="Turned.",
            ),
        ),
    )


def test_a_reading_read_back_is_the_same(tmp_path):
    reading = _reading()
    reading_json.save(reading, tmp_path / "made" / "here")
    again = reading_json.load(tmp_path / "made" / "here")

    assert again == reading
    first = again.findings[0].mask
    assert first is not None
    assert first.origin == (10, 20, 30)
    np.testing.assert_array_equal(first.voxels, reading.findings[0].mask.voxels)
    assert again.findings[1].mask is None
    assert again.segments[0].mask.voxels.shape == (1, 2, 3)


def test_what_was_compared_is_read_back_too(tmp_path):
    reading = _reading()
    change = replace(
        reading.findings[0].change,
        forecast={"days": 180, "volume_mm3": 50.0},
        prior_center_mm=(1.0, 2.0, 3.0),
        aligned_center_mm=(4.0, 5.0, 6.0),
    )
    gone = replace(reading.findings[0], change=replace(change, category="resolved"))
    compared = replace(
        reading,
        findings=(replace(reading.findings[0], change=change),),
        resolved=(gone,),
        response=Response("RECIST 1.1", "PR", "Partial response.", 20.0, 12.0, 12.5, ("2.25.7",)),
        comparison_notes=("Aligned.",),
        assessments=(Assessment("Lung-RADS 2022", "4A", "One nodule."),),
    )
    reading_json.save(compared, tmp_path)
    again = reading_json.load(tmp_path)

    assert again == compared
    np.testing.assert_array_equal(again.resolved[0].mask.voxels, gone.mask.voxels)


def test_the_json_has_the_documented_keys_and_no_masks():
    body = json.loads(json.dumps(reading_json.to_json(_reading())))

    assert body["model"] == {"name": "detector", "version": "1", "sha256": "ab"}
    finding = body["findings"][0]
    assert finding["long_axis_mm"] == 5.0
    assert finding["short_axis_mm"] == 2.0
    assert finding["box_mm"] == [[0.0, -4.0, 2.0], [3.0, 0.0, 4.5]]
    assert finding["change"]["category"] == "increased"
    assert "mask" not in finding
    assert (finding["interpolated"], finding["cut"]) == (0.25, True)
    assert body["caveats"][0] == {"kind": "unread", "statement": "2 images were not read.", "images": 2}
    assert body["segments"][0]["area_mm2"] is None
    assert body["measurements"][0]["lines_px"] == [[[1.0, 2.0], [4.5, 2.0]]]


def test_a_reading_without_findings_can_be_kept(tmp_path):
    empty = replace(_reading(), findings=(), segments=())
    reading_json.save(empty, tmp_path)
    assert reading_json.load(tmp_path) == empty


def test_a_reading_kept_by_an_earlier_version_has_its_assessments_and_solid_part_with_the_finding():
    reading = _reading()
    body = json.loads(json.dumps(reading_json.to_json(reading)))
    first = body["findings"][0]
    told = {"guideline": "Lung-RADS 2022", "result": "4A", "statement": "Growing."}
    first["change"] |= {"solid": first.pop("solid"), "assessments": [told]}
    del first["assessments"], body["assessments"]
    del first["interpolated"], body["caveats"], body["measurements"]
    again = reading_json.from_json(body)

    assert again.findings[0].assessments == (Assessment("Lung-RADS 2022", "4A", "Growing."),)
    assert again.findings[0].solid == reading.findings[0].solid
    assert again.findings[0].change == reading.findings[0].change
    assert again.assessments == ()
    assert (again.caveats, again.measurements, again.findings[0].interpolated) == ((), (), 0.0)
