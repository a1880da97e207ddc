"""The subject of a certificate as RFC 4514 writes it; `cryptography` is the judge."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier

from uvicorn_worker.tls.distinguished_name import key_algorithm, subject_name

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(subject: x509.Name) -> bytes:
    """A certificate (DER) of that subject."""
    now = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the issuer")]))
        .public_key(KEY.public_key())
        .serial_number(2**100)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def attribute(oid: ObjectIdentifier, value: str, kind: _ASN1Type | None = None) -> x509.NameAttribute[str]:
    return x509.NameAttribute(oid, value, kind)


def name(*attributes: x509.NameAttribute[str]) -> x509.Name:
    return x509.Name(list(attributes))


class TestNames:
    @pytest.mark.parametrize(
        "subject",
        [
            name(),
            name(attribute(NameOID.COMMON_NAME, "Jane")),
            name(
                attribute(NameOID.COUNTRY_NAME, "DE"),
                attribute(NameOID.STATE_OR_PROVINCE_NAME, "Berlin"),
                attribute(NameOID.LOCALITY_NAME, "Berlin"),
                attribute(NameOID.STREET_ADDRESS, "Street 1"),
                attribute(NameOID.ORGANIZATION_NAME, "Example GmbH"),
                attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Ops"),
                attribute(NameOID.USER_ID, "jane"),
                attribute(NameOID.DOMAIN_COMPONENT, "example"),
                attribute(NameOID.COMMON_NAME, "Jané Dœ 🦄"),
            ),
            name(attribute(NameOID.COMMON_NAME, 'a,b+c"d\\e<f>g;h=i')),
            name(attribute(NameOID.COMMON_NAME, " both ends ")),
            name(attribute(NameOID.COMMON_NAME, "#hash # inside")),
            name(attribute(NameOID.COMMON_NAME, " ")),
            name(attribute(NameOID.COMMON_NAME, "nul\0byte")),
            name(attribute(NameOID.COMMON_NAME, "x" * 64), attribute(NameOID.ORGANIZATION_NAME, "y" * 300)),
            x509.Name(
                [
                    x509.RelativeDistinguishedName([attribute(NameOID.COMMON_NAME, "one")]),
                    x509.RelativeDistinguishedName(
                        [attribute(NameOID.USER_ID, "two"), attribute(NameOID.ORGANIZATION_NAME, "three")]
                    ),
                ]
            ),
        ],
        ids=lambda subject: ascii(subject.rfc4514_string()[:30]),
    )
    def test_they_are_those_of_another_implementation(self, subject: x509.Name) -> None:
        whole = certificate(subject)
        # Read back, since the order in a set is that of its encoding.
        expected = x509.load_der_x509_certificate(whole).subject.rfc4514_string()
        assert subject_name(whole) == expected

    @pytest.mark.parametrize("kind", [_ASN1Type.PrintableString, _ASN1Type.T61String, _ASN1Type.BMPString])
    def test_every_kind_of_string_is_read(self, kind: _ASN1Type) -> None:
        assert subject_name(certificate(name(attribute(NameOID.COMMON_NAME, "Jane", kind)))) == "CN=Jane"

    def test_common_attributes_have_names(self) -> None:
        subject = name(attribute(NameOID.SERIAL_NUMBER, "7"), attribute(NameOID.EMAIL_ADDRESS, "j@example.org"))
        assert subject_name(certificate(subject)) == "emailAddress=j@example.org,serialNumber=7"

    @pytest.mark.parametrize(
        ("oid", "dotted"),
        [
            (ObjectIdentifier("1.3.6.1.4.1.311.60.2.1.3"), "1.3.6.1.4.1.311.60.2.1.3"),
            (ObjectIdentifier("2.999.1"), "2.999.1"),
            (ObjectIdentifier("0.1.2"), "0.1.2"),
        ],
    )
    def test_others_are_shown_as_they_are_encoded(self, oid: ObjectIdentifier, dotted: str) -> None:
        subject = name(attribute(oid, "DE", _ASN1Type.PrintableString))
        assert subject_name(certificate(subject)) == f"{dotted}=#13024445"


class TestNonsense:
    @pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x05\x30", b"\x30\x02\x30\x00", b"\x02\x01\x00"])
    def test_what_is_no_certificate_has_no_name(self, data: bytes) -> None:
        assert subject_name(data) is None

    def test_nor_has_one_that_was_cut_or_changed(self) -> None:
        whole = certificate(name(attribute(NameOID.COMMON_NAME, "Jane")))
        for at in range(len(whole)):
            assert subject_name(whole[:at]) is None
            changed = bytearray(whole)
            changed[at] ^= 0xFF
            # Whatever comes of it, it is no exception.
            subject_name(bytes(changed))


class TestKeyAlgorithm:
    def test_an_elliptic_curve(self) -> None:
        assert key_algorithm(certificate(name())) == "1.2.840.10045.2.1"

    @pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x02\x30\x00", b"nonsense"])
    def test_what_is_no_certificate(self, data: bytes) -> None:
        assert key_algorithm(data) is None
