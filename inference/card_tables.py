"""The tables of a model's README, written from its card between two marks; the prose around them is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inference.card import InputTensor, Metric, ModelCard, OutputTensor

BEGIN = "<!-- from model.yaml: begin -->"
END = "<!-- from model.yaml: end -->"


def readme(card: ModelCard, text: str) -> str:
    """``text`` with the tables renewed; put under a title where there was no marked block."""
    block = f"{BEGIN}\n{tables(card)}{END}"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        return before + block + after
    return f"{text.rstrip() or f'# {card.name}'}\n\n{block}\n"


def tables(card: ModelCard) -> str:
    """Markdown, ending in a newline."""
    parts = [
        f"{card.task}.",
        _table(
            ("", ""),
            [
                ("version", str(card.version)),
                ("readers", ", ".join(card.readers) or "-"),
                ("license", card.license),
                ("weights (sha256)", f"`{card.sha256}`"),
                ("intended use", card.intended_use),
            ],
        ),
        "**Limits**\n\n" + "\n".join(f"- {limit}" for limit in card.limits),
        "**Inputs**\n\n" + _table(("tensor", "type", "shape", "prepared as"), map(_input_row, card.inputs)),
        "**Outputs**\n\n" + _table(("tensor", "type", "shape", "is"), map(_output_row, card.outputs)),
    ]
    if card.operating_points:
        points = ((name, f"{p.threshold:g}", p.chosen_for) for name, p in card.operating_points.items())
        parts.append("**Operating points**\n\n" + _table(("name", "threshold", "chosen for"), points))
    if card.training_data:
        data = ((d.name, d.kind, str(d.cases), d.license, d.description) for d in card.training_data)
        heads = ("data", "kind", "cases", "license", "what")
        parts.append("**Learned from**\n\n" + _table(heads, data))
    if card.training_command:
        parts.append(f"**Made by**\n\n```\n{card.training_command}\n```")
    if card.metrics:
        columns = ("metric", "value", "95 % CI", "data", "split", "cases", "trained on")
        parts.append("**Figures**\n\n" + _table(columns, map(_metric_row, card.metrics)))
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _shape(dims: Sequence[int], axes: Sequence[str] = ()) -> str:
    names = axes or [""] * len(dims)
    return " x ".join(
        f"{name or 'any'}" if n == -1 else f"{name} {n}".strip() for n, name in zip(dims, names, strict=True)
    )


def _input_row(t: InputTensor) -> tuple[str, str, str, str]:
    intensity = t.intensity
    parts = [t.description, t.units]
    if t.orientation:
        parts.append(t.orientation)
    if t.spacing_mm:
        parts.append(" x ".join(f"{mm:g}" for mm in t.spacing_mm) + " mm")
    if intensity.clip:
        parts.append(f"clipped to {intensity.clip[0]:g} ... {intensity.clip[1]:g}")
    if intensity.subtract or intensity.divide != 1:
        parts.append(f"(value - {intensity.subtract:g}) / {intensity.divide:g}".replace("- -", "+ "))
    if any(n > 1 for n in t.multiple_of):
        parts.append("padded to multiples of " + " x ".join(map(str, t.multiple_of)))
    return f"`{t.tensor}`", t.dtype, _shape(t.dims, t.axes), "; ".join(filter(None, parts))


def _output_row(t: OutputTensor) -> tuple[str, str, str, str]:
    parts = [t.description, t.kind]
    if t.activation != "none":
        parts.append(f"after {t.activation}")
    if t.stride > 1:
        parts.append(f"stride {t.stride}")
    parts.append(t.units)
    parts.append(", ".join(f"{c.label} ({c.scheme} {c.value})" for c in t.labels))
    return f"`{t.tensor}`", t.dtype, _shape(t.dims), "; ".join(filter(None, parts))


def _metric_row(m: Metric) -> tuple[str, ...]:
    limits = f"{m.ci[0]:.3g} - {m.ci[1]:.3g}" if m.ci else "-"
    cases = "-" if m.cases is None else str(m.cases)
    return m.metric, f"{m.value:.3g}", limits, m.data_set, m.split, cases, m.trained_on
