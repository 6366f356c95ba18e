"""Fixed filters whose linear layer is fitted on real radiographs, and beside them a network that learned from
phantoms what a large heart or fluid looks like: their evidence is added."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from inference.catalogue import Catalogue
from inference.readers.chest_xray import FINDINGS
from inference.readers.radiograph import Floats
from training.chest_xray.network import FindingsNetwork
from training.chest_xray.scattering import FindingsForService

SHARE = 0.3
"""How far the learned network's logits spread, where those of the fixed filters spread by 1."""


class JoinedForService(nn.Module):
    """Probabilities and the evidence that they are the sum of, of two networks that see the same picture."""

    def __init__(self, fixed: FindingsForService, learned: FindingsNetwork, share: Floats) -> None:
        """share: (classes,), what the learned network's logits count."""
        super().__init__()
        self.fixed, self.learned = fixed, copy.deepcopy(learned)
        self.share = nn.Parameter(torch.from_numpy(share)[:, None, None], requires_grad=False)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        evidence = self.fixed.evidence(picture) + self.share * self.learned(picture)
        return torch.sigmoid(evidence.sum((2, 3)) + self.fixed.bias), evidence


def has_fixed_filters(repository: Path) -> bool:
    """Whether the classifier of a model repository is made of such filters, alone or with a network."""
    if not (repository / FINDINGS / "model.yaml").is_file():
        return False
    graph = onnx.load_from_string(Catalogue(repository).find(FINDINGS).weights_bytes()).graph
    return any(one.name.endswith("fine_mean") for one in graph.initializer)


def shares_of(fixed: Floats, learned: Floats) -> Floats:
    """(classes,): what the learned network's logits count beside the fixed one's, both (radiographs, classes)
    of the same real radiographs."""
    spread = np.nanstd(fixed, 0) / np.maximum(learned.std(0), 1e-6)
    return np.asarray(SHARE * np.nan_to_num(spread), np.float32)
