"""What became of the lesions: told under one tracking UID, and found again by a node without memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from inference.errors import UnreadableSeriesError
from inference.findings import Assessment, Category, Change, Finding, Response
from inference.growth.assess import assessed
from inference.growth.past import lung_rads_category
from node.decoding import DecodingProcess
from node.results import PriorEvidence, codes, write
from node.results.edition import Predecessor
from node.results.growth_curve import Dated, growth_picture
from node.results.layout import BLUE, Rgb
from node.results.recovery import recover
from tests.node.results.phantoms import WHEN, Case, phantom
from tests.validators import dciodvfy, dsrdump
from training.phantoms.dicom import Study

PRIOR = Study(date="20230115", accession_number="P0001")

FORECAST = {
    "days": 180,
    "points": 4,
    "volume_mm3": 1100.0,
    "low_mm3": 800.0,
    "high_mm3": 1500.0,
    "log_linear_mm3": 1300.0,
    "curve": [[90, 700.0, 900.0, 1100.0], [180, 800.0, 1100.0, 1500.0]],
    "malignancy": {"probability": 0.55, "low": 0.35, "high": 0.72},
}
LUNG_RADS = Assessment("Lung-RADS 2022", "4B", "Solid, 15.1 mm, growing: category 4B.")


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return phantom(tmp_path_factory.mktemp("prior"), study=PRIOR)


@pytest.fixture(scope="module")
def prior_results(prior: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {n: file.path for n, file in prior.write(tmp_path_factory.mktemp("prior-results")).items()}


@pytest.fixture(scope="module")
def compared(case: Case, prior: Case) -> Case:
    """The first lesion has grown since the prior, the second of the prior is gone."""
    here, there = case.reading.findings, prior.reading.findings
    grown = here[0].tracked_as(there[0].tracking_uid, change_from(prior, 0, "increased", 45.6, 210.0))
    assert grown.change is not None
    grown = replace(grown, assessments=(LUNG_RADS,), change=replace(grown.change, forecast=FORECAST))
    gone = there[1].tracked_as(there[1].tracking_uid, change_from(prior, 1, "resolved", -100.0, None))
    targets = (grown.tracking_uid,)
    response = Response("RECIST 1.1", "PD", "Progressive disease.", 20.0, 20.0, 31.5, targets, "PD")
    return replace(
        case, reading=replace(case.reading, findings=(grown,), resolved=(gone,), response=response)
    )


@pytest.fixture(scope="module")
def report(
    compared: Case, prior: Case, prior_results: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    files = written(compared, prior, prior_results, tmp_path_factory.mktemp("changes"))
    return files["sr-changes"]


def test_growth_is_told_under_the_tracking_uid_of_the_prior(report: Path, prior: Case) -> None:
    group = group_of(dcmread(report), prior.reading.findings[0].tracking_uid)
    assert numbers(group) == {"Fractional Change": 45.6, "Volume doubling time": 210.0}
    assert said(group)["Difference in size"] == "Increase in size"
    (image,) = (item for item in group.ContentSequence if item.ValueType == "IMAGE")
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == prior.reading.findings[0].image_uid


def test_what_guidelines_make_of_a_lesion_is_told_beside_its_growth(report: Path, prior: Case) -> None:
    group = group_of(dcmread(report), prior.reading.findings[0].tracking_uid)
    told = [item.TextValue for item in group.ContentSequence if item.ValueType == "TEXT"]
    assert "Lung-RADS 2022: Solid, 15.1 mm, growing: category 4B." in told


def test_a_forecast_is_a_comment_and_no_number_of_the_report(report: Path, prior: Case) -> None:
    group = group_of(dcmread(report), prior.reading.findings[0].tracking_uid)
    (told,) = (i for i in group.ContentSequence if "Forecast" in i.get("TextValue", ""))
    assert told.ConceptNameCodeSequence[0].CodeMeaning == "Comment"
    assert told.TextValue == (
        "Forecast from 4 dates, not measured: in 180 days 1100 mm3 (90 % interval 800 to 1500 mm3; a log-"
        "linear fit says 1300 mm3), suspicion of malignancy 55 % (90 % interval 35 to 72 %)."
    )
    assert set(numbers(group)) == {"Fractional Change", "Volume doubling time"}


def test_a_lesion_that_is_gone_is_told_to_be_absent(report: Path, prior: Case) -> None:
    group = group_of(dcmread(report), prior.reading.findings[1].tracking_uid)
    assert "Absent" in said(group).values()


def test_a_lesion_has_one_name_in_every_object_and_none_of_those_seen_is_the_name_of_one_that_is_gone(
    case: Case, prior: Case, prior_results: dict[str, Path], tmp_path: Path
) -> None:
    """Of two lesions the first was not compared, as one on a slice that the prior does not reach."""
    first, second = case.reading.findings
    new = second.tracked_as(second.tracking_uid, change_from(prior, 0, "new", None, None))
    gone = prior.reading.findings[1]
    gone = gone.tracked_as(gone.tracking_uid, change_from(prior, 1, "resolved", -100.0, None))
    reading = replace(case.reading, findings=(first, new), resolved=(gone,))
    files = written(replace(case, reading=reading), prior, prior_results, tmp_path)
    names = {role: names_of(dcmread(files[role])) for role in ("sr", "sr-outlines", "sr-changes")}
    seen = {first.tracking_uid: "nodule 1", second.tracking_uid: "nodule 2"}
    assert names["sr"] == names["sr-outlines"] == seen
    assert names["sr-changes"] == {
        second.tracking_uid: "nodule 2",
        gone.tracking_uid: "nodule, no longer seen",
    }
    segments = {s.TrackingUID: s.SegmentLabel for s in dcmread(files["seg"]).SegmentSequence}
    assert segments == seen


def test_the_response_is_told_by_recist(report: Path) -> None:
    told = told_responses(report)
    assert told["Current Response"] == "Target Lesion Progressive Disease"
    assert "Overall response of the patient" not in told, "nothing but the targets was judged"
    texts = {str(item.TextValue) for item in group_of_response(report).ContentSequence if "TextValue" in item}
    assert {"Response of the target lesions", "RECIST 1.1: Progressive disease."} <= texts


def test_the_response_is_tracked_under_one_uid_when_the_study_is_read_again(
    compared: Case, prior: Case, prior_results: dict[str, Path], report: Path, tmp_path: Path
) -> None:
    other_weights = replace(compared.reading, models=(replace(compared.reading.model, sha256="cd" * 32),))
    again = written(replace(compared, reading=other_weights), prior, prior_results, tmp_path)["sr-changes"]
    assert dcmread(again).SOPInstanceUID != dcmread(report).SOPInstanceUID
    assert uid_of_response(again) == uid_of_response(report)


@pytest.mark.parametrize(
    ("targets", "target", "told_of_targets"),
    [(("2.25.1",), "SD", "Target Lesion Stable Disease"), ((), None, None)],
)
def test_a_new_lesion_is_told_as_progression_of_the_disease_and_not_of_the_targets(
    compared: Case,
    prior: Case,
    prior_results: dict[str, Path],
    tmp_path: Path,
    targets: tuple[str, ...],
    target: str | None,
    told_of_targets: str | None,
) -> None:
    response = Response(
        "RECIST 1.1", "PD", "Progressive disease.", 20.0, 20.0, 20.0, targets, target, new_lesions=("2.25.9",)
    )
    new_alone = replace(compared, reading=replace(compared.reading, response=response))
    report = written(new_alone, prior, prior_results, tmp_path)["sr-changes"]
    told = told_responses(report)
    assert told.get("Current Response") == told_of_targets
    assert told["Overall response of the patient"] == "Progressive disease"


def test_the_prior_study_is_named_as_other_evidence(
    report: Path, prior: Case, prior_results: dict[str, Path]
) -> None:
    document = dcmread(report)
    study = str(dcmread(prior.paths[0]).StudyInstanceUID)
    assert [s.StudyInstanceUID for s in document.PertinentOtherEvidenceSequence] == [study]
    (named,) = (item for item in document.ContentSequence if item.ValueType == "COMPOSITE")
    uid = str(dcmread(prior_results["sr"]).SOPInstanceUID)
    assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid


@pytest.mark.needs("dciodvfy", "dsrdump")
def test_validators_have_nothing_against_it(report: Path) -> None:
    assert dciodvfy(report) == []
    assert dsrdump(report) == []


def test_the_same_comparison_gives_the_same_bytes(
    compared: Case, prior: Case, prior_results: dict[str, Path], report: Path, tmp_path: Path
) -> None:
    again = written(compared, prior, prior_results, tmp_path)["sr-changes"]
    assert again.read_bytes() == report.read_bytes()


def test_lesions_are_recovered_from_segmentation_and_report(
    prior: Case, prior_results: dict[str, Path]
) -> None:
    told = recover(prior_results.values(), prior.volume, "lung-nodules")
    assert told is not None
    assert [f.tracking_uid for f in told.reading.findings] == [f.tracking_uid for f in prior.reading.findings]
    for recovered, known in zip(told.reading.findings, prior.reading.findings, strict=True):
        assert recovered.mask is not None and known.mask is not None
        assert recovered.volume_mm3 == pytest.approx(known.volume_mm3)
        assert recovered.center_mm == pytest.approx(known.center_mm, abs=0.5)
        assert recovered.code == known.code
    assert told.reading.models == prior.reading.models


def test_what_kind_of_lesion_it_is_and_where_is_recovered(prior: Case, tmp_path: Path) -> None:
    first, second = prior.reading.findings
    liver = replace(second, code=codes.LESION.code, site=codes.LIVER.code)
    told_of = replace(first, kind="part-solid", side="left"), liver
    files = prior.with_findings(*told_of).write(tmp_path)
    told = recover([file.path for file in files.values()], prior.volume, "lung-nodules")
    assert told is not None
    for recovered, known in zip(told.reading.findings, told_of, strict=True):
        assert (recovered.kind, recovered.site, recovered.side) == (known.kind, known.site, known.side)


def test_what_only_a_look_found_is_recovered_as_that_and_has_no_certainty(
    prior: Case, tmp_path: Path
) -> None:
    looked, searched = prior.reading.findings
    files = prior.with_findings(replace(looked, by_look=True, score=0.62), searched).write(tmp_path)
    told = recover([file.path for file in files.values()], prior.volume, "lung-nodules")
    assert told is not None
    again, other = told.reading.findings
    assert (again.by_look, again.score, again.certainty) == (True, 0.0, None)
    assert again.caveat == replace(looked, by_look=True).caveat
    assert (other.by_look, other.certainty) == (False, searched.score)


def test_the_category_that_a_later_study_steps_down_from_is_recovered(prior: Case, tmp_path: Path) -> None:
    assessed_then = replace(prior, reading=assessed(prior.reading, prior.volume))
    files = assessed_then.write(tmp_path)
    told = recover([file.path for file in files.values()], prior.volume, "lung-nodules")
    assert told is not None
    assert [lung_rads_category(finding) for finding in told.reading.findings] == ["3", "3"]


def test_of_several_editions_the_last_is_recovered(
    prior: Case, prior_results: dict[str, Path], tmp_path: Path
) -> None:
    alone = prior.with_findings(prior.reading.findings[0].tracked_as("2.25.77"))
    earlier = [Predecessor.from_file(path) for path in prior_results.values()]
    later = alone.write(tmp_path, predecessors=earlier)
    told = recover(
        [*prior_results.values(), *(file.path for file in later.values())], prior.volume, "lung-nodules"
    )
    assert told is not None
    assert [f.tracking_uid for f in told.reading.findings] == ["2.25.77"]


def test_a_report_without_findings_is_recovered_as_one(prior: Case, tmp_path: Path) -> None:
    files = prior.with_findings().write(tmp_path)
    told = recover([file.path for file in files.values()], prior.volume, "lung-nodules")
    assert told is not None and told.reading.findings == ()


def test_without_all_its_parts_nothing_is_recovered(prior: Case, prior_results: dict[str, Path]) -> None:
    assert recover([prior_results["sr"]], prior.volume, "lung-nodules") is None
    assert recover([prior_results["seg"]], prior.volume, "lung-nodules") is None
    assert recover(prior_results.values(), prior.volume, "pet-ct") is None


def test_results_are_recovered_that_have_the_series_descriptions_of_old(
    prior: Case, prior_results: dict[str, Path], tmp_path: Path
) -> None:
    renamed = []
    for name, path in prior_results.items():
        header = dcmread(path)
        header.SeriesDescription = "Overread lung-nodules: measurements"
        header.save_as(tmp_path / f"{name}.dcm")
        renamed.append(tmp_path / f"{name}.dcm")
    assert recover(renamed, prior.volume, "lung-nodules") is not None


def test_the_picture_shows_a_forecast_only_where_there_is_one() -> None:
    then = now = np.zeros((384, 384, 3), np.uint8)
    change = Change("1.2", "20230115", 180, "increased", 45.6, 210.0, True, 0.9)
    course = [Dated("20230115", 500.0), Dated("", 728.0)]
    volume = {**FORECAST, "malignancy": None}
    plain, ahead, suspected = (
        growth_picture(then, now, course, replace(change, forecast=each)) for each in (None, volume, FORECAST)
    )

    def blue(picture: Rgb) -> int:
        return int((picture == (64, 200, 255)).all(axis=2).sum())

    assert blue(plain) == 0 < blue(ahead) < blue(suspected)


def test_the_summary_tells_the_forecast_beside_the_course_in_its_colour(
    compared: Case, tmp_path: Path
) -> None:
    (grown,) = compared.reading.findings
    assert grown.change is not None
    unforetold = replace(grown, change=replace(grown.change, forecast=None))
    course = {grown.tracking_uid: np.zeros((768, 768, 3), np.uint8)}

    def blue(finding: Finding, out: Path) -> int:
        reading = replace(compared.reading, findings=(finding,), resolved=(), response=None)
        files = write(
            reading, compared.volume, compared.paths, out, kinds=("sc",), when=WHEN,
            identity=compared.identity, courses=course,
        )  # fmt: skip
        pages = [dcmread(file.path).pixel_array for file in files if file.kind == "sc"]
        return sum(int((page == BLUE).all(axis=-1).sum()) for page in pages)

    assert blue(grown, tmp_path / "after") > blue(unforetold, tmp_path / "before") + 200


def test_studies_of_one_day_or_without_date_are_pictured_without_a_curve() -> None:
    then = now = np.zeros((384, 384, 3), np.uint8)
    for change in (
        Change("1.2", "20230115", 0, "stable", 1.0, None, False, 0.9),
        Change("1.2", "", 0, "stable", 1.0, None, False, 0.9),
    ):
        assert growth_picture(then, now, [Dated(change.prior_date, 5.0), Dated("", 6.0)], change).any()


def test_what_is_told_of_the_priors_has_a_say_in_the_uids(
    compared: Case, prior: Case, prior_results: dict[str, Path], report: Path, tmp_path: Path
) -> None:
    more = written(compared, prior, prior_results, tmp_path, told=("sr", "sr-outlines"))["sr-changes"]
    assert dcmread(more).SOPInstanceUID != dcmread(report).SOPInstanceUID


def test_the_order_in_which_priors_and_predecessors_were_found_does_not_matter(
    compared: Case, prior: Case, prior_results: dict[str, Path], tmp_path: Path
) -> None:
    earlier = [Predecessor.from_file(file.path) for file in compared.write(tmp_path / "earlier").values()]
    made = [
        written(compared, prior, prior_results, tmp_path / name, told, succeeding)["sr-changes"].read_bytes()
        for name, told, succeeding in (
            ("one", ("sr", "sr-outlines"), earlier),
            ("other", ("sr-outlines", "sr"), earlier[::-1]),
        )
    ]
    assert made[0] == made[1]


def test_a_segmentation_is_no_prior_report(prior_results: dict[str, Path]) -> None:
    (report,) = PriorEvidence.read([], [prior_results["seg"], prior_results["sr"]]).reports
    assert report.sop_instance_uid == dcmread(prior_results["sr"]).SOPInstanceUID


def written(
    compared: Case,
    prior: Case,
    prior_results: dict[str, Path],
    out: Path,
    told: Sequence[str] = ("sr",),
    predecessors: Sequence[Predecessor] = (),
) -> dict[str, Path]:
    keys = {finding.image_uid for finding in prior.reading.findings}
    images = [path for path in prior.paths if dcmread(path).SOPInstanceUID in keys]
    files = write(
        compared.reading,
        compared.volume,
        compared.paths,
        out,
        kinds=("seg", "sr"),
        when=WHEN,
        identity=compared.identity,
        predecessors=predecessors,
        evidence=PriorEvidence.read(images, [prior_results[role] for role in told]),
    )
    return {file.path.stem: file.path for file in files}


def change_from(
    prior: Case, number: int, category: Category, percent: float | None, doubling: float | None
) -> Change:
    finding = prior.reading.findings[number]
    return Change(
        prior_study_uid=str(dcmread(prior.paths[0]).StudyInstanceUID),
        prior_date=PRIOR.date,
        days=365,
        category=category,
        volume_change_percent=percent,
        doubling_time_days=doubling,
        significant=True,
        match_confidence=0.9,
        prior_image_uid=finding.image_uid,
        prior_frame=finding.frame,
    )


def groups(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        names = child.get("ConceptNameCodeSequence")
        if names and names[0].CodeValue == "125007":
            yield child
        yield from groups(child)


def group_of(report: Dataset, tracking_uid: str) -> Dataset:
    return next(
        g for g in groups(report) if any(str(i.get("UID")) == tracking_uid for i in g.ContentSequence)
    )


def names_of(report: Dataset) -> dict[str, str]:
    """The Tracking Identifier of each group, by its Tracking Unique Identifier."""
    return {
        str(_item_of(group, "112040").UID): str(_item_of(group, "112039").TextValue)
        for group in groups(report)
    }


def _item_of(group: Dataset, concept: str) -> Dataset:
    return next(
        item for item in group.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == concept
    )


def told_responses(report: Path) -> dict[str, str]:
    """What the one group that tells a response says."""
    return said(group_of_response(report))


def group_of_response(report: Path) -> Dataset:
    responses = {"Current Response", "Overall response of the patient"}
    (told,) = (g for g in groups(dcmread(report)) if responses & said(g).keys())
    return told


def uid_of_response(report: Path) -> str:
    (uid,) = (str(item.UID) for item in group_of_response(report).ContentSequence if "UID" in item)
    return uid


def numbers(group: Dataset) -> dict[str, float]:
    return {
        item.ConceptNameCodeSequence[0].CodeMeaning: float(item.MeasuredValueSequence[0].NumericValue)
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    }


def said(group: Dataset) -> dict[str, str]:
    return {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.ConceptCodeSequence[0].CodeMeaning
        for item in group.ContentSequence
        if item.ValueType == "CODE"
    }


def test_a_segmentation_fetched_back_is_decoded_in_the_process_that_may_die(
    prior: Case, prior_results: dict[str, Path], tmp_path: Path
) -> None:
    process = DecodingProcess(1 << 30, 60)
    try:
        told = recover(prior_results.values(), prior.volume, "lung-nodules", process.load_frames)
        here = recover(prior_results.values(), prior.volume, "lung-nodules")
        assert told is not None and here is not None
        assert [f.volume_mm3 for f in told.reading.findings] == [f.volume_mm3 for f in here.reading.findings]
        damaged = dcmread(prior_results["seg"])
        damaged.PixelData = encapsulate([b"\xff\xd8 no picture"])
        damaged["PixelData"].is_undefined_length = True
        damaged.file_meta.TransferSyntaxUID = JPEG2000Lossless
        damaged.save_as(tmp_path / "damaged.dcm")
        results = [tmp_path / "damaged.dcm", prior_results["sr"]]
        assert recover(results, prior.volume, "lung-nodules", process.load_frames) is None
    finally:
        process.stop()


def test_recovering_decodes_no_pixels_by_itself(prior: Case, prior_results: dict[str, Path]) -> None:
    def refuse(path: Path) -> NoReturn:
        raise UnreadableSeriesError(f"{path.name} took the process down")

    assert recover(prior_results.values(), prior.volume, "lung-nodules", refuse) is None
