"""How well lesions are followed: figures over phantom patients, each with its 95 % limits.

``python -m training.growth.evaluate --by installed --kept FILE``: a run that was ended goes on with the
patients that FILE does not hold yet.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.readers import lung_nodules
from training import strict_json
from training.growth.followed import Followed, Pair, follow
from training.growth.patients import Backdrop
from training.growth.readings import Installed, Reads, StandIn
from training.metrics.classification import Interval, limits

READERS = ("installed", "stand-in")
TRUE_CHANGE_PERCENT = 25.0
LARGE_MM = 8.0
FIRST_ANATOMY = 200
_RESAMPLES = 1000

Figure = Callable[[Sequence[Followed]], float]


def reads_by(name: str, catalogue: Catalogue) -> Reads:
    """The networks of ``catalogue``, or the stand-in of known faults.

    Raises:
        CatalogueError: a network is not in it.
    """
    if name == "stand-in":
        return StandIn()
    for model in (lung_nodules.DETECTOR, lung_nodules.CHARACTERISER):
        catalogue.find(model)
    return Installed(EmbeddedEngine(catalogue), catalogue)


def evaluate(
    reads: Reads, anatomies: int, patients_each: int, *, first: int = 0, kept: Path | None = None
) -> Iterator[Followed]:
    """Follow ``patients_each`` patients on each anatomy. ``kept``: a file with one line for each patient that
    is known already; what is new is added to it."""
    known = _kept(kept)
    for anatomy in range(anatomies):
        seeds = range(first + anatomy * patients_each, first + (anatomy + 1) * patients_each)
        backdrop: Backdrop | None = None
        for seed in seeds:
            if seed not in known:
                backdrop = backdrop or Backdrop.of(FIRST_ANATOMY + first // patients_each + anatomy)
                known[seed] = follow(seed, backdrop, reads)
                if kept is not None:
                    with kept.open("a") as file:
                        file.write(strict_json.dumps(asdict(known[seed])) + "\n")
            yield known[seed]


def figures(followed: Sequence[Followed]) -> dict[str, Any]:
    """Counts; and shares, means and medians, each with its 95 % limits over resampled patients."""
    pairs = _pairs(followed)
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(followed), size=len(followed)) for _ in range(_RESAMPLES)]
    out: dict[str, Any] = {
        "patients": len(followed),
        "comparisons": sum(one.visits - 1 for one in followed),
        "comparisons refused": sum(len(one.refused) for one in followed),
        "lesion pairs": len(pairs),
        "links": sum(one.links for one in followed),
        "new and resolved": sum(len(one.alone) for one in followed),
        "pairs judged": len(_judged(followed)),
        "zero growth pairs": len(_unchanged(followed)),
        "detail correlation, least": min((d for one in followed for d in one.details), default=float("nan")),
        "CPU seconds of a comparison, median": _median([s for one in followed for s in one.cpu_seconds]),
        "categories, true and called": confusions(followed),
    }
    for name, figure in FIGURES.items():
        drawn = np.array([figure([followed[k] for k in draw]) for draw in draws], np.float64)
        low, high = limits(drawn)
        interval = Interval(figure(followed), low, high)
        out |= {name: interval.value, f"{name}, 95 % CI": [interval.low, interval.high]}
    return out


def confusions(followed: Sequence[Followed]) -> dict[str, int]:
    """How often a pair whose volume truly changed so was called so."""
    seen = Counter(f"{true_category(pair)}, called {pair.category}" for pair in _judged(followed))
    return dict(sorted(seen.items()))


def true_category(pair: Pair) -> str:
    """By the true volumes alone, at 25 %: below it a change is no growth (BTS 2015)."""
    change = pair.true_change_percent
    if abs(change) < TRUE_CHANGE_PERCENT:
        return "stable"
    return "increased" if change > 0 else "decreased"


def _pairs(followed: Sequence[Followed]) -> list[Pair]:
    return [pair for one in followed for pair in one.pairs]


def _judged(followed: Sequence[Followed]) -> list[Pair]:
    return [pair for pair in _pairs(followed) if pair.category is not None]


def _large(followed: Sequence[Followed]) -> list[Pair]:
    return [pair for pair in _judged(followed) if min(pair.true_mm) >= LARGE_MM]


def _unchanged(followed: Sequence[Followed]) -> list[Pair]:
    return [pair for pair in _judged(followed) if pair.did_not_grow]


def _share(of: Sequence[bool]) -> float:
    return float(np.mean(of)) if len(of) else float("nan")


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _errors_mm(followed: Sequence[Followed]) -> list[float]:
    return [pair.error_mm for pair in _pairs(followed) if np.isfinite(pair.error_mm)]


def _wrong(followed: Sequence[Followed]) -> float:
    links = sum(one.links for one in followed)
    return sum(len(one.wrong) for one in followed) / links if links else float("nan")


def _points(pairs: Sequence[Pair]) -> list[float]:
    return [abs(p.change_percent - p.true_change_percent) for p in pairs if p.change_percent is not None]


def _per_comparison(followed: Sequence[Followed]) -> float:
    return sum(one.strange for one in followed) / max(sum(one.visits - 1 for one in followed), 1)


FIGURES: dict[str, Figure] = {
    "read in both scans": lambda f: _share([all(p.read) for p in _pairs(f)]),
    "linked right": lambda f: _share([p.linked for p in _pairs(f)]),
    "linked right, of those read in either scan": lambda f: _share(
        [p.linked for p in _pairs(f) if any(p.read)]
    ),
    "linked right, of those read in both scans": lambda f: _share(
        [p.linked for p in _pairs(f) if all(p.read)]
    ),
    "wrong links": _wrong,
    "centre error, mean mm": lambda f: float(np.mean(_errors_mm(f))) if _errors_mm(f) else float("nan"),
    "new and resolved right": lambda f: _share([a.right for one in f for a in one.alone]),
    "new and resolved right, of those read": lambda f: _share(
        [a.right for one in f for a in one.alone if a.read]
    ),
    "marks on nothing called new, per comparison": _per_comparison,
    "volume change, median error in points, from 8 mm": lambda f: _median(_points(_large(f))),
    "category right": lambda f: _share([p.category == true_category(p) for p in _judged(f)]),
    "category right, from 8 mm": lambda f: _share([p.category == true_category(p) for p in _large(f)]),
    "category as the rule gives it to the true volumes": lambda f: _share(
        [p.category == p.category_of_truth for p in _judged(f)]
    ),
    "the rule on the true volumes, category right": lambda f: _share(
        [p.category_of_truth == true_category(p) for p in _judged(f)]
    ),
    "zero growth called growth": lambda f: _share([p.category == "increased" for p in _unchanged(f)]),
}


def _kept(path: Path | None) -> dict[int, Followed]:
    if path is None or not path.exists():
        return {}
    kept = [Followed.from_json(json.loads(line)) for line in path.read_text().splitlines()]
    return {one.seed: one for one in kept}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.growth.evaluate", description=__doc__)
    parser.add_argument("--by", choices=READERS, default=READERS[0], help="who reads")
    parser.add_argument("--anatomies", type=int, default=8)
    parser.add_argument("--patients", type=int, default=8, help="on each anatomy")
    parser.add_argument("--first", type=int, default=0, help="number of the first patient")
    parser.add_argument("--kept", type=Path, help="where each patient is kept, and found again")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    done: list[Followed] = []
    for one in evaluate(
        reads_by(options.by, Catalogue()),
        options.anatomies,
        options.patients,
        first=options.first,
        kept=options.kept,
    ):
        done.append(one)
        linked = sum(pair.linked for pair in one.pairs)
        print(f"patient {one.seed}: {linked} of {len(one.pairs)} pairs linked", *one.wrong, *one.refused)
    told = figures(done)
    print(strict_json.dumps(told, indent=1))
    if options.json:
        options.json.write_text(strict_json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
