"""The code table agrees with PS3.16 wherever PS3.16 has the code."""

from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts

from inference.catalogue import SHIPPED_MODELS, Catalogue
from node.results import codes

IN_PS3_16 = {
    (scheme, value, meaning)
    for scheme, keywords in concepts.items()
    for entries in keywords.values()
    for value, (meaning, _) in entries.items()
}
NOT_IN_PS3_16 = {
    codes.SNOMED,
    codes.LOINC,
    codes.OWN,
    codes.UCUM,
    "PS3.16 of 2022, CID 4031",
    "PS3.16 CID 5000",
    "PS3.16 TID 1500",
}


@pytest.mark.parametrize("name", codes.TABLE)
def test_a_code_means_what_the_standard_says(name: str) -> None:
    term = codes.TABLE[name]
    if term.source == codes.PS3_16:
        assert (term.scheme, term.value, term.meaning) in IN_PS3_16
    else:
        assert term.source in NOT_IN_PS3_16


@pytest.mark.parametrize("name", codes.TABLE)
def test_a_code_fits_its_attributes(name: str) -> None:
    term = codes.TABLE[name]
    assert len(term.scheme) <= 16 and len(term.value) <= 16 and len(term.meaning) <= 64


def test_no_code_is_listed_twice() -> None:
    keys = [(term.scheme, term.value) for term in codes.TABLE.values()]
    assert len(keys) == len(set(keys))


def test_the_types_of_cancer_are_those_of_the_standard() -> None:
    """PS3.16 CID 639, Tumor Graft Histologic Type, has the morphologies of SNOMED CT that are in use."""
    types = {
        value
        for entries in concepts["SCT"].values()
        for value, (_, context_groups) in entries.items()
        if 639 in context_groups
    }
    assert {term.value for term in codes.CANCERS.values()} <= types
    assert set(codes.CANCERS) <= set(codes.ASSESSED)


def test_the_chest_is_not_the_one_of_later_editions() -> None:
    """pydicom has the later CID 4031; the validators refuse reports with its code."""
    later = {
        value
        for entries in concepts["SCT"].values()
        for value, (meaning, context_groups) in entries.items()
        if 4031 in context_groups and meaning == "Chest"
    }
    assert later == {"816094009"}
    assert codes.CHEST.value not in later and "2022" in codes.CHEST.source


def test_artificial_intelligence_is_not_manual_processing() -> None:
    """Validators compare no code with its meaning: 123109 DCM is Manual Processing."""
    assert codes.ARTIFICIAL_INTELLIGENCE.value == "123110"


def test_a_change_has_a_code_of_chest_images_or_one_of_our_own() -> None:
    """PS3.16 CID 6134, Chest Qualitative Temporal Difference Type. 129721008, "New finding", is none of
    these: SNOMED has it as New finding since previous mammogram."""
    of_the_chest = {
        value
        for entries in concepts["SCT"].values()
        for value, (_, context_groups) in entries.items()
        if 6134 in context_groups
    }
    for term in codes.CHANGE.values():
        assert term.scheme == codes.OWN_SCHEME or term.value in of_the_chest


def test_a_known_code_goes_out_with_the_meaning_of_the_table() -> None:
    misnamed = codes.Code("SCT", "786838002", "nodule of the lung")
    assert codes.concept_of(misnamed).meaning == "Pulmonary nodule"


def test_what_a_shipped_model_labels_by_a_code_of_a_standard_is_in_the_table() -> None:
    """Its own classes, of behaviour and of growth, enter no result by their codes."""
    labels = [
        label
        for model in Catalogue(SHIPPED_MODELS)
        for output in model.card.outputs
        for label in output.labels
    ]
    told = {(each.scheme, each.value) for each in labels if each.scheme != codes.OWN_SCHEME}
    assert ("SCT", "59441001") in told
    assert told <= {(term.scheme, term.value) for term in codes.TABLE.values()}


def test_a_site_may_use_a_code_of_its_own() -> None:
    concept = codes.concept_of(codes.Code("99SITE", "X1", "Something seen here only"))
    assert (concept.value, concept.scheme_designator) == ("X1", "99SITE")
