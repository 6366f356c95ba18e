"""URLs of databases, without what nobody else may read."""

from __future__ import annotations

import re

_USER = re.compile(r"(://[^:/]*):.*@", re.DOTALL)  # to the last @: a password may hold what is not escaped
_QUERY = re.compile(r"([?&][^=&\s]*(?:password|secret|_key)[^=&\s]*=)[^&]*?(?=&|['\"]?$)", re.IGNORECASE)
"""libpq's are ``password``, ``sslpassword``, ``oauth_client_secret`` and ``scram_client_key``; what is hidden
ends at the next parameter, or with the text."""


def without_secrets(text: str) -> str:
    """``text``, a URL or words with one at their end, its passwords written as ``***``, be they before the
    host or among the parameters."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1:***@", text))
