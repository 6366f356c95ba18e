"""Where a peer of the stock transport sees what one of the fast does not, and why: ways of pynetdicom's."""

from tests.node.intake.raw_sender import ABORT, P_DATA

CLOSED = 0

LAST_WORD = {"fast": {ABORT}, "stock": {ABORT, CLOSED}}
"""What a peer reads last that sends nonsense: some of it ends pynetdicom's threads without a word."""

ANSWER_TO_A_UID_THAT_IS_NONE = {"fast": {P_DATA}, "stock": {P_DATA, ABORT}}
"""What follows a command with such a UID: pynetdicom cannot read some of those, and aborts."""

MOST_MEMORY = {"fast": 8_000_000, "stock": 1_000_000_000}
"""Bytes that an object of 75 MB may take: pynetdicom gathers it whole before it is written."""

ANSWERS_WHAT_HAS_NO_UID = {"fast": True, "stock": False}
"""Whether a C-STORE is answered whose command lacks the instance's UID: pynetdicom passes over it."""
