"""What is counted of patients that were followed, and how."""

import json
from dataclasses import asdict, replace

import pytest

from inference.catalogue import SHIPPED_MODELS
from training import run, strict_json
from training.errors import TaskError
from training.growth.evaluate import figures, main, true_category
from training.growth.followed import Alone, Followed, Pair
from training.growth.repeats import Measured, within_nodule_cv

GREW = Pair(
    "1.1.0",
    "solid",
    (1.25, 2.0),
    (10.0, 12.6),
    (524.0, 1047.0),
    (True, True),
    0.8,
    True,
    "increased",
    (500.0, 1100.0),
    "increased",
    35.0,
)
SAME = replace(GREW, true_mm=(10.0, 10.1), true_mm3=(524.0, 539.0), category="increased")
MISSED = replace(GREW, read=(True, False), linked=False, measured_mm3=None, category=None, limit_percent=None)
NEW = Alone("1.1.3", "new", 6.0, True, True)
GONE = Alone("1.1.4", "resolved", 5.0, False, False)
PATIENT = Followed(
    1, 3, (GREW, SAME, MISSED), (NEW, GONE), links=4, wrong=("1.1: lesion 2 linked to 3",), strange=1
)


def test_shares_are_of_what_they_say():
    told = figures([PATIENT])
    assert told["lesion pairs"] == 3
    assert told["pairs judged"] == 2
    assert told["linked right"] == pytest.approx(2 / 3)
    assert told["linked right, of those read in both scans"] == 1
    assert told["wrong links"] == 1 / 4
    assert told["new and resolved right"] == 1 / 2
    assert told["new and resolved right, of those read"] == 1
    assert told["marks on nothing called new, per comparison"] == 1 / 2
    assert told["category right"] == 1 / 2
    assert told["zero growth called growth"] == 1
    assert told["categories, true and called"] == {
        "increased, called increased": 1,
        "stable, called increased": 1,
    }
    assert told["volume change, median error in points, from 8 mm"] == pytest.approx(68.7, abs=0.1)


def test_limits_come_of_resampled_patients():
    told = figures([PATIENT, replace(PATIENT, pairs=(GREW,))])
    low, high = told["linked right, 95 % CI"]
    assert (low, high) == pytest.approx((2 / 3, 1))
    assert low < told["linked right"] < high


def test_the_true_category_turns_at_25_percent():
    assert true_category(replace(GREW, true_mm3=(100.0, 124.9))) == "stable"
    assert true_category(replace(GREW, true_mm3=(100.0, 125.0))) == "increased"
    assert true_category(replace(GREW, true_mm3=(100.0, 75.0))) == "decreased"


def test_a_patient_is_found_again_in_the_file_that_keeps_it():
    lost = replace(PATIENT, pairs=(replace(MISSED, error_mm=float("inf")), GREW))
    for patient in (PATIENT, lost):
        assert Followed.from_json(rfc_8259(strict_json.dumps(asdict(patient)))) == patient
    again = Followed.from_json(
        rfc_8259(strict_json.dumps(asdict(replace(PATIENT, details=(0.5, float("nan"))))))
    )
    assert again.details == pytest.approx((0.5, float("nan")), nan_ok=True)


def test_a_figure_of_nothing_is_null_in_json(tmp_path):
    kept, out = tmp_path / "kept.jsonl", tmp_path / "figures.json"
    kept.write_text(strict_json.dumps(asdict(Followed(0, 1))) + "\n")
    main(["--by", "stand-in", "--anatomies", "1", "--patients", "1", "--kept", str(kept), "--json", str(out)])
    told = rfc_8259(out.read_text())
    assert told["linked right"] is None
    assert told["linked right, 95 % CI"] == [None, None]


def rfc_8259(text):
    """JSON, where NaN and Infinity are no words."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_chest_is_only_warped_where_one_is_given(tmp_path):
    with pytest.raises(TaskError, match="--data, a folder with one CT series"):
        run.evaluate("growth", tmp_path, "warped-ct")


def test_what_a_nodule_measures_too_large_every_time_is_no_lack_of_repeatability():
    twice = [Measured((1, 0), "solid", 8.0, 1.25, 268.0, mm3) for mm3 in (300.0, 300.0)]
    assert within_nodule_cv(twice) == 0
    other = [Measured((1, 1), "solid", 8.0, 1.25, 268.0, mm3) for mm3 in (250.0, 300.0)]
    assert within_nodule_cv([*twice, *other]) == pytest.approx(0.091, abs=0.001)


def test_simulated_lesions_need_no_folder_of_data():
    with pytest.raises(TaskError, match="split 'test' is not known; there is: held-out, shifted"):
        run.evaluate("growth", None, "simulated", "test", None, SHIPPED_MODELS)
