"""Which tracer a header names: FDG, another, or none."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.sr.codedict import Code, codes

from inference.tracer import NUCLIDES, tracer_of

Coded = tuple[str, str, str]


def header(
    name: str = "", drug: Coded | None = None, nuclide: Coded | None = None, half_life: str = "6586.2"
) -> Dataset:
    item = Dataset()
    item.Radiopharmaceutical, item.RadionuclideHalfLife = name, half_life
    for keyword, coded in (("Radiopharmaceutical", drug), ("Radionuclide", nuclide)):
        if coded is not None:
            code = Dataset()
            code.CodingSchemeDesignator, code.CodeValue, code.CodeMeaning = coded
            setattr(item, f"{keyword}CodeSequence", [code])
    whole = Dataset()
    whole.RadiopharmaceuticalInformationSequence = [item]
    return whole


GALLIUM = ("SRT", "C-131A3", "^68^Gallium")


@pytest.mark.parametrize(
    ("said", "is_fdg"),
    [
        (header("FDG -- fluorodeoxyglucose", ("99SDM", "Y-X1743", "FDG -- fluorodeoxyglucose")), True),
        (header("Solution", ("SCT", "35321007", "Fluorodeoxyglucose F^18^")), True),
        (header("F18_FDG"), True),
        (header("Fludeoxyglucose F 18"), True),
        (header("2-deoxy-2-[18F]fluoro-D-glucose"), True),
        (header("Fluordesoxyglukose"), True),
        (header("Ga-68 PSMA-11", ("99X", "C-B1300", "PSMA"), GALLIUM, "4062.6"), False),
        (header("", None, GALLIUM, "4062.6"), False),
        (header("Solution", half_life="4062.6"), False),
        (header("68Ga-HA-DOTATATE"), False),
        (header("F-18 Fluoride"), False),
        (header("", ("SCT", "456992002", "Fluorocholine F^18^")), False),
        (header("", ("SNM3", "C-B1032", "")), False),
        (header("FDG", ("99X", "1", "PSMA")), False),
        (header("FDG", None, GALLIUM, "4062.6"), False),
        (header("Solution"), None),
        (header("", ("SCT", "77004003", "^18^Fluorine")), None),
        (Dataset(), None),
    ],
)
def test_a_tracer_is_fdg_or_another_or_left_open(said: Dataset, is_fdg: bool | None) -> None:
    assert tracer_of(said).is_fdg is is_fdg


def test_another_tracer_is_called_by_its_name_or_by_its_nuclide() -> None:
    assert tracer_of(header("Ga-68 PSMA-11", None, GALLIUM)).name == "Ga-68 PSMA-11"
    assert tracer_of(header("", None, GALLIUM)).name == "68Ga"
    assert tracer_of(header("", half_life="4062.6")).name == "68Ga"


@pytest.mark.parametrize("text", ["18F", "F-18", "^18^Fluorine", "Fluorine 18", "[18F]FDG", "18F-FDG"])
def test_a_nuclide_is_known_by_its_name_however_written(text: str) -> None:
    nuclide = tracer_of(header(nuclide=("99X", "1", text))).nuclide
    assert nuclide is not None and nuclide.name == "18F"


@pytest.mark.parametrize("text", ["PSMA-11 C", "F 180", "PF-18", "C-118", "fluorine"])
def test_what_only_looks_like_a_nuclide_is_none(text: str) -> None:
    assert tracer_of(header(text)).nuclide is None


def test_the_codes_of_nuclides_are_those_of_the_standard() -> None:
    concepts = (getattr(codes.cid4020, name) for name in dir(codes.cid4020))
    standard = {code.value: code.meaning for code in concepts if isinstance(code, Code)}
    for nuclide in NUCLIDES:
        (meaning,) = {standard[value] for value in nuclide.codes if value in standard}
        assert nuclide.is_named(meaning), (nuclide.name, meaning)


def test_no_other_nuclide_has_the_half_life_of_18f() -> None:
    assert [one.name for one in NUCLIDES if one.has_half_life(6586.2)] == ["18F"]
