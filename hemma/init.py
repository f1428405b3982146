"""The first start of the containers: passwords, rights and certificates, each where its reader is.

`python -m hemma.init` runs as root in a container without network, before the others. Every process
mounts one volume, which holds its own password and nothing else; what only this step needs (all the
passwords, the key of the authority) stays in a volume that no other container mounts. Run again it
keeps what is there, renews a certificate that ends soon, and writes the rights anew.
"""

import argparse
import ipaddress
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hemma.broker import Rights, access, make_credentials

SERVICE_UID = 10001
"""The user of the Dockerfile."""

BROKER_UID = 1883
"""The user of the public Mosquitto image."""

HEALTH = "broker-health"
"""The credential of the broker's health check: it may hear one topic."""

AUTHORITY_LIFE = timedelta(days=20 * 365)
SERVER_LIFE = timedelta(days=825)
"""The longest that Apple's devices accept, for private authorities too (support page 103769)."""

RENEW_BEFORE = timedelta(days=180)
"""Gateways are updated now and then; half a year takes in the rare ones."""

CLOCK_ERROR = timedelta(days=1)
"""A certificate is good a while before it was made, for clients whose clock is behind."""

ALWAYS_NAMED = ("broker", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """As it is handed out."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """As only its owner may read it."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def make_authority(now: datetime) -> Identity:
    """An authority of this one house, which signs its broker's certificate and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Hemma house {secrets.token_hex(4)}")]
    )
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _unsigned(name, name, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Identity(certificate, key)


def make_server(authority: Identity, names: Sequence[str], now: datetime) -> Identity:
    """The broker's identity towards the LAN, for these host names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    issuer = authority.certificate
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _unsigned(subject, issuer.subject, key, now, SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Identity(certificate, key)


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_ERROR)
        .not_valid_after(now - CLOCK_ERROR + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(name) for name in names]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def still_good(server: Identity, authority: Identity, names: Sequence[str], now: datetime) -> bool:
    """Whether the broker's certificate can stay: same names, same authority, far from its end."""
    named = server.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return (
        set(named.value) == set(_general_names(names))
        and server.certificate.issuer == authority.certificate.subject
        and now + RENEW_BEFORE < server.certificate.not_valid_after_utc
    )


def identities(folder: Path, names: Sequence[str], now: datetime) -> tuple[Identity, Identity]:
    """The authority and the server, kept in a folder; made, or made anew, where need be."""
    authority = _kept(folder, "authority") or _keep(folder, "authority", make_authority(now))
    server = _kept(folder, "server")
    if server is None or not still_good(server, authority, names, now):
        server = _keep(folder, "server", make_server(authority, names, now))
    return authority, server


def _kept(folder: Path, name: str) -> Identity | None:
    """Both files of an identity. One without the other is left by a cut in power: made anew."""
    files = folder / f"{name}.crt", folder / f"{name}.key"
    if not all(file.exists() for file in files):
        return None
    certificate, key = (file.read_bytes() for file in files)
    loaded = serialization.load_pem_private_key(key, password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{files[1]} holds another kind of key than was made here")
    return Identity(x509.load_pem_x509_certificate(certificate), loaded)


def _keep(folder: Path, name: str, identity: Identity) -> Identity:
    (folder / f"{name}.crt").unlink(missing_ok=True)  # never a new key beside an old certificate
    hand_over(identity.key_pem(), folder / f"{name}.key", os.getuid())
    hand_over(identity.certificate_pem(), folder / f"{name}.crt", os.getuid())
    return identity


def hand_over(content: bytes, file: Path, owner: int) -> None:
    """Put a file in place whole, readable by its owner and nobody else.

    The folder must be there already: it is the reader's volume, and one that is not mounted would
    leave the reader without its password.

    Raises:
        FileNotFoundError: The folder is not there.
    """
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
        os.fchown(opened.fileno(), owner, owner)
    temporary.replace(file)


def hand_out(folder: Path, rights: dict[str, Rights], names: Sequence[str], now: datetime) -> None:
    """Fill the volumes below a folder: `init` for itself, `broker`, and one a credential."""
    own = folder / "init"
    health: Rights = {"publish": [], "subscribe": ["$SYS/broker/uptime"]}
    plugin_file = make_credentials(own / "passwords", {**rights, HEALTH: health})
    authority, server = identities(own, names, now)
    for name in rights:
        password = f"{name}.password"
        hand_over(
            (plugin_file.parent / password).read_bytes(), folder / name / password, SERVICE_UID
        )
    health_password = (plugin_file.parent / f"{HEALTH}.password").read_text()
    for name, content in {
        plugin_file.name: plugin_file.read_bytes(),
        "mosquitto_sub": f"-u {HEALTH}\n-P {health_password}\n".encode(),
        "server.key": server.key_pem(),
        "server.crt": server.certificate_pem(),
        "ca.crt": authority.certificate_pem(),
    }.items():
        hand_over(content, folder / "broker" / name, BROKER_UID)


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand out everything; `HEMMA_TLS_NAMES` adds names and addresses of this gateway."""
    parser = argparse.ArgumentParser(prog="python -m hemma.init")
    parser.add_argument("--secrets", type=Path, default=Path("/secrets"))
    options = parser.parse_args(arguments)
    given = os.environ.get("HEMMA_TLS_NAMES", "").replace(",", " ").split()
    names = tuple(dict.fromkeys([*given, *ALWAYS_NAMED]))
    try:
        hand_out(options.secrets, access(), names, datetime.now(UTC))
    except FileNotFoundError as error:
        print(f"hemma.init: {error.filename}: no volume is mounted there", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
