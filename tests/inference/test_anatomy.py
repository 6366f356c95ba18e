"""Body and lungs are found in a scan, also where it shows a part of the chest alone."""

from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import body_of, observe
from tests.inference.growth.chest import scan


def test_a_lung_the_field_of_view_cuts_through_stays_whole_up_to_the_cut():
    whole = scan(noise=1)
    cut = observe(replace(whole, voxels=np.ascontiguousarray(whole.voxels[:, :, :62])))
    expected = observe(whole).lungs[:, :, :62]
    both = (cut.lungs & expected).sum()
    assert 2 * both / (cut.lungs.sum() + expected.sum()) > 0.97


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_cut_on_any_side_closes_the_body(axis, backwards):
    box = np.full((3, 20, 20), -1000.0, np.float32)
    box[:, 4:16, 4:16] = 40
    box[:, 7:13, 7:13] = -850
    kept = [slice(None)] * 3
    kept[axis] = slice(10, None) if backwards else slice(None, 10)
    body = body_of(box[tuple(kept)])
    filled = np.zeros(box.shape, bool)
    filled[:, 4:16, 4:16] = True
    assert (body == filled[tuple(kept)])[1].mean() > 0.95


def test_air_beside_an_uncut_body_is_none_of_it():
    assert not observe(scan(noise=1)).body[:, :3].any()
