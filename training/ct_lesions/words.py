"""What the words of the two networks weigh: by logistic regression over the marks in phantoms that neither
learned from, nor any evaluation draws, though a third of them are scanned as an evaluation's shifted ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Point
from inference.model_repository import sync
from inference.readers.ct_lesions import Judged, logit, see
from training.ct_lesions.cards import CHARACTERISER
from training.evaluate.ct_lesions import as_volume, phantom_case
from training.phantoms.bodies import BodyLesion

FIRST_SEED, FIRST_SHIFTED = 9000, 9100
_LEAST_MM = 3.0
_WORDS = ("heat_weight", "inside_weight", "lesion_weight", "score_offset")


def weigh(repository: Path, scans: int) -> None:
    """Weigh the words by ``scans`` phantoms as in training and half as many shifted ones, and write the
    weights into the second network's card in ``repository``."""
    catalogue = Catalogue(repository)
    engine = EmbeddedEngine(catalogue)
    seeds = [*range(FIRST_SEED, FIRST_SEED + scans), *range(FIRST_SHIFTED, FIRST_SHIFTED + scans // 2)]
    marked: list[tuple[Judged, bool]] = []
    for seed in track(seeds, "words weighed"):
        phantom = phantom_case(seed, seed >= FIRST_SHIFTED)
        judged = see(as_volume(phantom, str(seed)), engine, catalogue).judged
        marked += [(one, _on_a_lesion(one.mark.candidate.center_mm, phantom.lesions)) for one in judged]
    path = repository / CHARACTERISER / "model.yaml"
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    card["postprocess"] |= weights(marked)
    ModelCard.model_validate(card)
    path.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
    sync(Catalogue(repository))


def weights(marked: Iterable[tuple[Judged, bool]]) -> dict[str, float]:
    """Of marks and whether they are on a lesion: the constants that the card gives to the reader. None where
    all are of one kind."""
    words, lesion = [], []
    for one, on_a_lesion in marked:
        said = one.mark.candidate.score, one.mark.inside, one.look.lesion
        words.append([logit(probability) for probability in said])
        lesion.append(on_a_lesion)
    if len(set(lesion)) < 2:
        return {}
    model = LogisticRegression().fit(np.array(words), np.array(lesion))
    numbers = [*model.coef_[0].tolist(), float(model.intercept_[0])]
    return {name: round(number, 3) for name, number in zip(_WORDS, numbers, strict=True)}


def _on_a_lesion(point: Point, lesions: Iterable[BodyLesion]) -> bool:
    return any(
        np.linalg.norm(np.subtract(point, one.center_mm)) < max(one.diameter_mm / 2, _LEAST_MM)
        for one in lesions
    )
