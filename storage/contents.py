"""What a result object holds, in a word: told by its file, which is named after its role in a reading."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

CONTENTS: Mapping[str, str] = {
    "seg": "segmentation",
    "seg-structures": "structures",
    "sr": "measurements",
    "sr-outlines": "outlines",
    "sr-classes": "classes",
    "sr-changes": "changes",
    "pr": "presentation",
    "sc": "summary",
    "ko": "key images",
    "reg": "registration",
    "reg-deformable": "deformable registration",
    "sr-not-processed": "not processed",
}
_PAGE = re.compile(r"-\d+$")


@dataclass(frozen=True)
class Content:
    """``words``: such as "changes", or "summary 2" of several pages; ``reader``: whose reading it was made
    of, empty where nobody read. Both are empty for a file that bears no role's name."""

    words: str = ""
    reader: str = ""

    @classmethod
    def of(cls, path: str) -> Self:
        """The content of the object at ``path``, relative to the archive's root: ``…/READER/ROLE.dcm``, or
        ``…/REVISION/ROLE.dcm`` where nobody read."""
        file = PurePosixPath(path)
        role = _PAGE.sub("", file.stem)
        words, page = CONTENTS.get(role, ""), file.stem.removeprefix(role)
        if not words:
            return cls()
        if page not in ("", "-1"):
            words += page.replace("-", " ")
        folder = file.parent.name
        return cls(words, "" if folder.isdigit() else folder)


def name_of(kind: str, path: str) -> str:
    """What a timeline calls an object: such as "SR (changes of lung-nodules)"."""
    content = Content.of(path)
    whose = f" of {content.reader}" if content.reader else ""
    return f"{kind.upper()} ({content.words}{whose})" if content.words else kind.upper()
