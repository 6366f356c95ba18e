"""What the tests of growth share."""

import pytest

from inference.growth import partners
from inference.growth.align import align_anatomies


@pytest.fixture(scope="module")
def each_pair_aligned_once():
    """For tests that use the same few scans: what two of them align to is kept."""
    known = {}

    def remembered(current, prior):
        key = (current.hu.tobytes(), prior.hu.tobytes(), prior.affine.tobytes())
        if key not in known:
            known[key] = align_anatomies(current, prior)
        return known[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partners, "align_anatomies", remembered)
        yield
