"""The subject of an X.509 certificate as the string of RFC 4514, and of which kind its key is.

Python's `getpeercert()` has lost what the string needs: the object identifier of an attribute that OpenSSL has a
name for, and the encoding of a value that is shown as hexadecimal digits. So the name is read from the certificate.

    Certificate ::= SEQUENCE { tbsCertificate, ... }                                        RFC 5280, 4.1
    TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer, validity, subject, ... }
    SubjectPublicKeyInfo ::= SEQUENCE { SEQUENCE { algorithm OBJECT IDENTIFIER, ... }, ... }      (behind the subject)
    Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["key_algorithm", "subject_name"]

# RFC 4514, section 3, and the descriptors that RFC 4519 and RFC 2985 register (RFC 4520) for what else is common.
_DESCRIPTORS = {
    "2.5.4.3": "CN",
    "2.5.4.4": "sn",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.17": "postalCode",
    "2.5.4.42": "givenName",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.46": "dnQualifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}

# The string types of ASN.1 by their tags.
_ENCODINGS = {
    0x0C: "utf-8",  # UTF8String
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString: nominally T.61, in practice this
    0x16: "ascii",  # IA5String
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
_VERSION = 0xA0
# How many elements of a TBSCertificate stand between the version and the subject.
_BEFORE_SUBJECT = 4


def subject_name(certificate: bytes) -> str | None:
    """The subject of a certificate (DER); None where it can't be read. An empty subject is an empty string."""
    try:
        subject = next(_from_subject_on(certificate))[1]
        # RFC 4514, 2.1: from the last part to the first.
        parts = [_relative_name(content) for _, content, _ in _elements(subject)]
    except (IndexError, ValueError, StopIteration):
        return None
    return ",".join(reversed(parts))


def key_algorithm(certificate: bytes) -> str | None:
    """The algorithm of the public key of a certificate (DER) by its object identifier; None where it can't be read."""
    try:
        elements = _from_subject_on(certificate)
        next(elements)
        algorithm = _value(next(elements)[1])
        return _object_identifier(_value(algorithm))
    except (IndexError, ValueError, StopIteration):
        return None


def _from_subject_on(certificate: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements of the TBSCertificate, from the subject on."""
    elements = _elements(_value(_value(certificate)))
    tag, _, _ = next(elements)
    if tag == _VERSION:
        next(elements)
    for _ in range(_BEFORE_SUBJECT - 1):
        next(elements)
    return elements


def _relative_name(content: bytes) -> str:
    return "+".join(_attribute(pair) for _, pair, _ in _elements(content))


def _attribute(pair: bytes) -> str:
    (_, identifier, _), (tag, content, whole) = _elements(pair)
    dotted = _object_identifier(identifier)
    name, encoding = _DESCRIPTORS.get(dotted), _ENCODINGS.get(tag)
    if name is None or encoding is None:
        # RFC 4514, 2.4: a value whose type has no short name, or that is no string, is shown as it is encoded.
        return f"{name or dotted}=#{whole.hex()}"
    return f"{name}={_escape(content.decode(encoding))}"


def _escape(text: str) -> str:
    """RFC 4514, 2.4: what would be read as part of the syntax gets a backslash."""
    escaped = "".join("\\00" if char == "\0" else "\\" + char if char in '"+,;<>\\' else char for char in text)
    if escaped[:1] in (" ", "#"):
        escaped = "\\" + escaped
    if len(text) > 1 and text[-1] == " ":
        escaped = escaped[:-1] + "\\ "
    return escaped


def _object_identifier(content: bytes) -> str:
    """X.690, 8.19: base 128, the first number holding the first two arcs."""
    numbers, number = [], 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _value(data: bytes) -> bytes:
    return next(_elements(data))[1]


def _elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements in `data` (DER): tag, content, and the element as a whole."""
    at = 0
    while at < len(data):
        tag, length, begin = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[begin : begin + size], "big")
            begin += size
        end = begin + length
        if end > len(data):
            raise ValueError("an element is longer than what it is in")
        yield tag, data[begin:end], data[at:end]
        at = end
