"""Which tracer a PET shows: its nuclide, and whether it is FDG, by the PET Isotope Module (PS3.3 C.8.9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset

_MARKS = str.maketrans({"^": "", "[": " ", "]": " "})
_NEAR = 0.05  # a half-life given is that of a nuclide within this share
_STANDARD = frozenset({"SCT", "SRT", "SNM3", "DCM", "NCIT", "UMLS"})
_FDG_CODES = frozenset({"35321007", "C-B1031"})
_FDG = re.compile(r"(?<![a-z])fdg(?![a-z])|des?oxy.{0,20}glu[ck]os", re.IGNORECASE)
_OTHER = re.compile(
    r"psma|dcfpyl|piflufolastat|dota(tate|toc|noc)|edotreotide|fapi|choline|fluciclovine|axumin|fluoride|\bnaf\b|"
    r"\bflt\b|thymidine|\bfet\b|ethyl-?l?-?tyrosine?|f?dopa\b|flutemetamol|florbeta|flortaucipir|pittsburgh|\bpib\b|"
    r"methionine|acetate|f?miso\b|misonidazole|\bfes\b|estradiol|ammonia|rubidium|flurpiridaz|atsm|exendin|"
    r"pentixafor|raclopride|flumazenil|mab\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Nuclide:
    """name: mass number and symbol. codes: of PS3.16 CID 4020, as SNOMED CT and as SNOMED RT call it."""

    name: str
    half_life_s: float
    element: str
    codes: frozenset[str]

    def is_named(self, text: str) -> bool:
        """Whether ``text`` names it: 18F, F-18, ^18^Fluorine, Fluorine 18."""
        mass, symbol = re.fullmatch(r"(\d+)(\w+)", self.name).groups()  # type: ignore[union-attr]
        called = f"(?:{symbol}|{self.element})"
        either = rf"(?<![a-z0-9-])(?:{mass}-?{called}|{called}[- ]?{mass})(?![a-z0-9])"
        return re.search(either, text.translate(_MARKS), re.I) is not None

    def has_half_life(self, seconds: float) -> bool:
        return abs(seconds / self.half_life_s - 1) <= _NEAR


NUCLIDES = (
    Nuclide("11C", 1221.8, "carbon", frozenset({"40565003", "C-105A1"})),
    Nuclide("13N", 597.9, "nitrogen", frozenset({"21576001", "C-107A1"})),
    Nuclide("15O", 122.24, "oxygen", frozenset({"129504001", "C-B1038"})),
    Nuclide("18F", 6586.2, "fluorine", frozenset({"77004003", "C-111A1"})),
    Nuclide("38K", 458.2, "potassium", frozenset({"423764008", "C-135A4"})),
    Nuclide("44Sc", 14292.0, "scandium", frozenset({"126600"})),
    Nuclide("62Cu", 580.2, "copper", frozenset({"422934004", "C-127A5"})),
    Nuclide("64Cu", 45721.0, "copper", frozenset({"3932008", "C-127A2"})),
    Nuclide("68Ga", 4062.6, "gallium", frozenset({"35337001", "C-131A3"})),
    Nuclide("76Br", 58320.0, "bromine", frozenset({"79523006", "C-113A2"})),
    Nuclide("82Rb", 76.4, "rubidium", frozenset({"79197006", "C-159A2"})),
    Nuclide("86Y", 53064.0, "yttrium", frozenset({"10738001", "C-162A3"})),
    Nuclide("89Zr", 282276.0, "zirconium", frozenset({"63360001", "C-168A4"})),
    Nuclide("90Y", 230549.0, "yttrium", frozenset({"14691008", "C-162A7"})),
    Nuclide("124I", 360806.0, "iodine", frozenset({"40937006", "C-114A5"})),
)
_NUCLIDE_CODES = frozenset(code for nuclide in NUCLIDES for code in nuclide.codes)


@dataclass(frozen=True)
class Tracer:
    """name: as the header calls it, empty where it does not. nuclide: by its code or name, None where neither
    is known. is_fdg: None where the header leaves it open."""

    name: str
    nuclide: Nuclide | None
    is_fdg: bool | None


def tracer_of(header: Dataset) -> Tracer:
    """Of an image's header. Where what it says of it contradicts itself, the tracer is not FDG."""
    items: Sequence[Dataset] = header.get("RadiopharmaceuticalInformationSequence") or ()
    coded = [code for item in items for code in _codes(item, "RadiopharmaceuticalCodeSequence")]
    names = [str(item.get("Radiopharmaceutical") or "").strip() for item in items]
    names = [name for name in (*names, *(meaning for _, _, meaning in coded)) if name]
    nuclide = _nuclide(items, names)
    said = " ".join(names)
    foreign = any(
        scheme in _STANDARD and value not in _FDG_CODES | _NUCLIDE_CODES and not _FDG.search(meaning)
        for scheme, value, meaning in coded
    )
    other = foreign or bool(_OTHER.search(said)) or bool(_not_18f(items, nuclide))
    fdg = bool(_FDG.search(said)) or any(value in _FDG_CODES for _, value, _ in coded)
    name = next(iter(names), "") or (nuclide.name if nuclide else "") or _not_18f(items, nuclide)
    return Tracer(name, nuclide, False if other else True if fdg else None)


def _nuclide(items: Sequence[Dataset], names: Sequence[str]) -> Nuclide | None:
    """By its code, else by what it is called, else by what the radiopharmaceutical is called."""
    codes = [code for item in items for code in _codes(item, "RadionuclideCodeSequence")]
    for nuclide in NUCLIDES:
        if any(value in nuclide.codes for _, value, _ in codes):
            return nuclide
    for texts in ([meaning for _, _, meaning in codes], names):
        for nuclide in NUCLIDES:
            if any(nuclide.is_named(text) for text in texts):
                return nuclide
    return None


def _not_18f(items: Sequence[Dataset], nuclide: Nuclide | None) -> str:
    """The nuclide, or where it is not named that which has the half-life given, unless it is 18F."""
    if nuclide is not None:
        return "" if nuclide.name == "18F" else nuclide.name
    for item in items:
        try:
            seconds = float(item.get("RadionuclideHalfLife") or 0)
        except (TypeError, ValueError):
            continue
        for one in NUCLIDES:
            if one.has_half_life(seconds) and one.name != "18F":
                return one.name
    return ""


def _codes(item: Dataset, keyword: str) -> Iterator[tuple[str, str, str]]:
    """Scheme, value, meaning."""
    for code in item.get(keyword) or ():
        yield (
            str(code.get("CodingSchemeDesignator") or "").upper(),
            str(code.get("CodeValue") or ""),
            str(code.get("CodeMeaning") or ""),
        )
