"""What is said of a term is what another library reads in the file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from node.security.terms import terms_in
from tests.certificates import DAY, Authority

NOW = datetime.now(UTC)


def test_the_terms_of_everything_in_a_file_are_read(tmp_path: Path) -> None:
    first, second = Authority(tmp_path, "First CA"), Authority(tmp_path, "Second CA", days=36500)
    revoked = first.revoke(first.issue("ct1"))
    files = [first.certificate, second.certificate, revoked]
    one, two, of_list = terms_in(b"\n".join(path.read_bytes() for path in files), NOW)
    for term, file in ((one, files[0]), (two, files[1])):  # the second ends beyond 2049
        known = x509.load_pem_x509_certificate(file.read_bytes())
        assert (term.kind, term.begins, term.ends) == (
            "trusted certificate",
            known.not_valid_before_utc,
            known.not_valid_after_utc,
        )
    assert (one.of, two.of) == ("First CA", "Second CA")
    known_list = x509.load_pem_x509_crl(revoked.read_bytes())
    assert (of_list.kind, of_list.of) == ("revocation list", "First CA")
    assert (of_list.begins, of_list.ends) == (known_list.last_update_utc, known_list.next_update_utc)


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_an_old_list_and_its_successor_the_one_in_force_counts(tmp_path: Path, newest_first: bool) -> None:
    authority = Authority(tmp_path)
    lists = [authority.revoke(age=9, days=days).read_bytes() for days in (5, -2)]
    lists.append(authority.revoke(age=-1, days=90).read_bytes())  # not yet
    now = datetime.now(UTC)
    (term,) = terms_in(b"".join(lists if newest_first else reversed(lists)), now)
    assert abs(term.ends - (now + 5 * DAY)) < timedelta(minutes=5)


def test_what_is_no_der_is_said(tmp_path: Path) -> None:
    cut = b"-----BEGIN X509 CRL-----\nMIIBYDCB6A==\n-----END X509 CRL-----\n"
    with pytest.raises(ValueError, match="ends within"):
        terms_in(cut, NOW)
    with pytest.raises(ValueError, match="not enough values"):
        terms_in(cut.replace(b"MIIBYDCB6A==", b"MAA="), NOW)
