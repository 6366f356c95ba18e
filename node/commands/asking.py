"""Who gives a command, as the audit trail has it."""

from __future__ import annotations

import os
import pwd

LONGEST_WHO = 64  # characters that the audit trail keeps of who it was


def whoever_asks(command: str) -> str:
    """``anna (overread users)``: the user of this machine; ``bob, as anna (overread users)`` where a variable
    of the environment, which is sudo's or anybody's, says that bob became that user."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container that is run as any user
        name = f"user {uid}"
    user, caller = f"{name} ({command})", os.environ.get("SUDO_USER", "")
    if caller in ("", name):
        return user
    return f"{caller[: max(0, LONGEST_WHO - len(f', as {user}'))]}, as {user}"
