"""Which reconstruction kernels are sharp (lung, bone) and which soft, across vendors."""

from __future__ import annotations

import re
from typing import Literal

Kernel = Literal["sharp", "soft", ""]

_SHARP_NAMES = re.compile(r"LUNG|BONE|EDGE|SHARP|^(L|D|E|YC|YD|YE|YL)$")
_SOFT_NAMES = re.compile(r"SOFT|STAND|DETAIL|SMOOTH|CHST|MEDIA|^(A|B|C|YA|YB)$")
_SIEMENS = re.compile(r"^[A-Z][A-Z]?(\d\d)")
_TOSHIBA = re.compile(r"^FC(\d\d)")
_FIRST_SHARP_SIEMENS = 50


def kernel_of(name: str) -> Kernel:
    """Sharp or soft by the ConvolutionKernel's name; empty where it tells nothing.

    GE, Philips and Hitachi use words or letters; Siemens numbers its kernels by sharpness (B30f, Br38f,
    Bl64d); Canon/Toshiba gives FC30, FC50-59 and FC80-89 to lung and bone.
    """
    name = name.strip().upper()
    if _TOSHIBA.match(name):
        number = int(name[2:4])
        return "sharp" if number == 30 or 50 <= number <= 59 or number >= 80 else "soft"
    if found := _SIEMENS.match(name):
        return "sharp" if int(found[1]) >= _FIRST_SHARP_SIEMENS else "soft"
    if _SHARP_NAMES.search(name):
        return "sharp"
    return "soft" if _SOFT_NAMES.search(name) else ""
