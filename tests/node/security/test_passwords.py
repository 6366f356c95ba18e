"""Passwords: kept as argon2id, right or wrong, never too easy."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from node.security import passwords
from node.security.passwords import PasswordError, hashed, is_outdated, is_right


def test_a_password_is_kept_as_argon2id_and_never_twice_the_same() -> None:
    one, other = hashed("anna", "correct horse"), hashed("anna", "correct horse")
    assert one.startswith("$argon2id$v=19$m=65536")
    assert one != other
    assert is_right("correct horse", one)
    assert not is_right("correct horse ", one)
    assert not is_right("correct horse", None)
    assert not is_right("nobody's password", None)
    assert not is_right("correct horse", "not a hash")
    assert not is_outdated(one)


def test_an_unknown_name_is_looked_at_as_a_known_one_is() -> None:
    known = hashed("anna", "correct horse")
    assert extract_parameters(passwords._NOBODYS) == extract_parameters(known)
    for kept in (known, passwords._NOBODYS):
        with pytest.raises(VerifyMismatchError):  # at the end, and not for its form at the beginning
            PasswordHasher().verify(kept, "another password")


def test_a_password_is_the_same_from_every_keyboard() -> None:
    assert is_right("Pa\u0308sswo\ufb01rt lang", hashed("anna", "P\u00e4sswofirt lang"))


@pytest.mark.parametrize("password", ["", "short", "x" * 11, "aaaaaaaaaaaaaaaa", "anna.anderson", "y" * 2000])
def test_what_is_short_endless_or_easy_is_refused(password: str) -> None:
    with pytest.raises(PasswordError):
        hashed("Anna.Anderson", password)
