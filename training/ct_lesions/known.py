"""What is known of a place that a network learns from.

Of a phantom everything is. Of a scan on which somebody marked lesions on one slice, what was marked is, and
what lies right about it; elsewhere on that slice nothing was marked, which says little; and of the slices
beside it nothing is known.
"""

from __future__ import annotations

import torch
from torch import Tensor

OPEN, KNOWN, UNMARKED = 0, 1, 2


def part(known: Tensor, probability: Tensor) -> Tensor:
    """How much a place takes part in a loss: not at all where it is ``OPEN``, wholly where it is ``KNOWN``.
    Where it is ``UNMARKED``, the less the surer the network itself is of a lesion (``probability``): about
    half of DeepLesion's lesions have no mark (arXiv:2303.15024), and one that stands out is let be, while the
    network learns to pass over what it doubts. The part itself teaches nothing."""
    told = (known == KNOWN).to(probability.dtype)
    return torch.where(known == UNMARKED, 1 - probability.detach(), told)
