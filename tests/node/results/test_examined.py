"""What was examined is named by the context groups of 2022, which validators hold reports to."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.sr._concepts_dict import concepts

from node.results import codes
from node.results.examined import procedure_reported


@pytest.mark.parametrize(
    ("modality", "procedure"),
    [
        ("CT", "CT unspecified body region"),
        ("PT", "PET unspecified body region"),
        ("DX", "Imaging procedure"),
        ("ES", "Imaging procedure"),
    ],
)
def test_a_procedure_is_named_by_its_modality(modality: str, procedure: str) -> None:
    image = Dataset()
    image.Modality = modality
    assert procedure_reported(image).meaning == procedure


def test_every_procedure_is_one_of_the_template() -> None:
    """PS3.16 CID 100, Quantitative Diagnostic Imaging Procedure, of TID 1500 row 4. pydicom has a later one,
    with a procedure of radiographs that the validators refuse."""
    named = {
        (scheme, value)
        for scheme, keywords in concepts.items()
        for entries in keywords.values()
        for value, (_, context_groups) in entries.items()
        if 100 in context_groups
    }
    reported = {*codes.PROCEDURES.values(), codes.IMAGING_PROCEDURE}
    assert {(term.scheme, term.value) for term in reported} <= named - {("LN", "43468-8")}
