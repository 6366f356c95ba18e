"""A certificate's subject in the settings means one subject and no other."""

from __future__ import annotations

import pytest
from cryptography.x509 import Name

from node.security.distinguished_name import as_text, attributes_in
from node.security.tls import PeerCertificate
from node.settings.security import AllowedCaller

HOSPITAL = ("organizationName", "Hospital")


@pytest.mark.parametrize(
    "value", ["ct1", "Muster, Klinik", 'a "b" <c>; d+e=f\\', " #1 ", "#1", "Zürich", " ", "\\", "a,O=b"]
)
def test_what_is_written_is_read_again_as_the_same(value: str) -> None:
    attributes = (("commonName", value), HOSPITAL)
    assert attributes_in(as_text(attributes)) == attributes
    read = Name.from_rfc4514_string(as_text(attributes))
    assert {attribute.value for attribute in read} == {value, "Hospital"}


def test_types_are_known_by_short_and_long_name_and_bytes_by_their_digits() -> None:
    assert attributes_in(r"cn=ct1, organizationName=Hospital") == (("commonName", "ct1"), HOSPITAL)
    assert attributes_in(r"CN=Lu\C4\8Di\C4\87") == (("commonName", "Lučić"),)


def test_a_name_with_a_comma_is_not_two_parts() -> None:
    spoofed = PeerCertificate((("commonName", "ct1,O=Hospital"), ("organizationName", "Evil")), "00")
    assert not spoofed.is_as("CN=ct1,O=Hospital")
    assert not spoofed.is_as("CN=ct1")
    assert not spoofed.is_as("O=Hospital")
    assert spoofed.subject == r"CN=ct1\,O\=Hospital,O=Evil"
    assert spoofed.is_as(spoofed.subject)
    assert PeerCertificate((HOSPITAL, ("commonName", "ct1")), "00").is_as("CN=ct1, O=Hospital")


@pytest.mark.parametrize("text", ["ct1", "CN=", "CN=a,", "CN=a\\", "CN=a,,O=b", "=a", "sha256:12"])
def test_what_is_no_subject_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match="such as CN=ct1,O=Hospital"):
        AllowedCaller(certificate=text)


def test_a_subject_with_a_comma_may_be_set() -> None:
    allowed = AllowedCaller(ae_title="CT1", certificate=r"O=Muster\, Klinik")
    assert PeerCertificate((("organizationName", "Muster, Klinik"),), "00").is_as(allowed.certificate)
