"""What a result object holds is told by its file."""

from __future__ import annotations

import pytest

from storage.contents import Content, name_of

FOLDER = "results/ab/2.25.1/2"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("lung-nodules/sr-changes.dcm", Content("changes", "lung-nodules")),
        ("lung-nodules/sr.dcm", Content("measurements", "lung-nodules")),
        ("lung-nodules/sc-1.dcm", Content("summary", "lung-nodules")),
        ("lung-nodules/sc-12.dcm", Content("summary 12", "lung-nodules")),
        ("pet-ct/pr.dcm", Content("presentation", "pet-ct")),
        ("pet-ct/pr-2.dcm", Content("presentation 2", "pet-ct")),
        ("sr-not-processed.dcm", Content("not processed")),
        ("lung-nodules/2.25.7.dcm", Content()),
    ],
)
def test_the_name_of_a_file_tells_its_content_and_its_folder_the_reader(path: str, content: Content) -> None:
    assert Content.of(f"{FOLDER}/{path}") == content


def test_a_timeline_tells_reports_of_one_kind_apart() -> None:
    assert name_of("sr", f"{FOLDER}/lung-nodules/sr.dcm") == "SR (measurements of lung-nodules)"
    assert name_of("sr", f"{FOLDER}/ct-lesions/sr.dcm") == "SR (measurements of ct-lesions)"
    assert name_of("sr", f"{FOLDER}/sr-not-processed.dcm") == "SR (not processed)"
    assert name_of("sr", "somewhere/else.dcm") == "SR"
