"""Making certificates: a fleet's authority, what it signs, and the bridge from an older authority to a newer one.

All are valid from the year 2000 on, so that a lamp without a clock, which begins there, can check them.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from espfleet.certificates.addresses import is_name
from espfleet.domain.names import shown
from espfleet.errors import InvalidError

FIRST_DAY = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
AUTHORITY_DAYS = 20 * 365
SERVER_DAYS = 2 * 365
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Who signs the certificates of a fleet.

    Attributes:
        certificate: What lamps and browsers trust.
        key: What signs; the secret of the fleet.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """Return the key and the certificate: a secret."""
        return _private(self.key) + pem_of(self.certificate)


def new_authority(now: datetime.datetime) -> Authority:
    """Make an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Two authorities of a fleet must not have the same name, or nobody knows whose signature to check.
    name = _name(f"espfleet {now:%Y-%m-%d} {secrets.token_hex(4)}")
    return Authority(_authority(name, key.public_key(), name, key, now, path_length=1), key)


def bridge(newer: Authority, older: Authority) -> x509.Certificate:
    """Return the newer authority's certificate, signed by the older one.

    A server that sends it along is trusted also by lamps that know only the older authority.
    """
    signed, signer = newer.certificate, older.certificate
    return _authority(
        signed.subject,
        newer.key.public_key(),
        signer.subject,
        older.key,
        min(signed.not_valid_after_utc, signer.not_valid_after_utc) - AUTHORITY_DAYS * _DAY,
        path_length=0,
    )


def new_server(authority: Authority, names: Sequence[str], now: datetime.datetime) -> tuple[bytes, x509.Certificate]:
    """Return the key, in PEM, and the certificate of a gateway or web server.

    Args:
        authority: Who signs it.
        names: Host names and IP addresses by which it is reached.
        now: The current time.

    Raises:
        InvalidError: If there is no name, or one cannot be used.
    """
    if not names:
        raise InvalidError("a certificate needs a name or an address by which the server is reached", field="names")
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    end = min(now + SERVER_DAYS * _DAY, issuer.not_valid_after_utc)
    certificate = (
        _builder(_name("espfleet server"), key.public_key(), issuer.subject, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        # Servers of a Redis Cluster show theirs to one another, and each wants to see that of a client.
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(_identifier_of(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return _private(key), certificate


def load_authority(pem: bytes) -> Authority:
    """Return the authority whose ``pem`` this is.

    Raises:
        InvalidError: If it is none.
    """
    try:
        key = load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as exc:
        raise InvalidError(f"this is not an authority: {exc}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidError("this is not an authority: its key is none of an elliptic curve")
    return Authority(certificate, key)


def pem_of(*certificates: x509.Certificate) -> bytes:
    """Return certificates as text."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def der_of(*certificates: x509.Certificate) -> bytes:
    """Return certificates in the form that lamps read, one after the other."""
    return b"".join(one.public_bytes(Encoding.DER) for one in certificates)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return SHA-256 of a certificate, as browsers show it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _authority(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    path_length: int,
) -> x509.Certificate:
    return (
        _builder(subject, public, issuer, now + AUTHORITY_DAYS * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_identifier_of(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, public: ec.EllipticCurvePublicKey, issuer: x509.Name, end: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(FIRST_DAY)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _identifier_of(public: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        written = name.encode("idna").decode()
    except UnicodeError:
        written = ""
    if not is_name(written):
        raise InvalidError(
            f"{shown(name)} cannot be in a certificate: name hosts and addresses alone, with commas between",
            field="names",
        )
    return x509.DNSName(written)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
