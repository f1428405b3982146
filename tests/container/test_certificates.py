"""What the first start makes: an authority of the house and the broker's certificate."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from hemma.init import (
    RENEW_BEFORE,
    SERVER_LIFE,
    hand_over,
    identities,
    make_authority,
    make_server,
    still_good,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAMES = ("gateway.lan", "192.168.1.4", "localhost", "::1")


def test_the_broker_is_known_by_all_names_and_addresses_of_the_gateway() -> None:
    server = make_server(make_authority(NOW), NAMES, NOW).certificate
    named = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert named.get_values_for_type(x509.DNSName) == ["gateway.lan", "localhost"]
    assert [str(a) for a in named.get_values_for_type(x509.IPAddress)] == ["192.168.1.4", "::1"]


def test_only_the_house_s_own_authority_has_signed_it() -> None:
    authority, stranger = make_authority(NOW), make_authority(NOW)
    server = make_server(authority, NAMES, NOW).certificate
    server.verify_directly_issued_by(authority.certificate)
    with pytest.raises((ValueError, InvalidSignature)):
        server.verify_directly_issued_by(stranger.certificate)


def test_a_gateway_started_twice_keeps_its_certificates(tmp_path: Path) -> None:
    first = identities(tmp_path, NAMES, NOW)
    again = identities(tmp_path, NAMES, NOW + timedelta(days=30))
    assert [(one.certificate, one.key_pem()) for one in again] == [
        (one.certificate, one.key_pem()) for one in first
    ]


END_NEAR = NOW + SERVER_LIFE - RENEW_BEFORE


@pytest.mark.parametrize(
    ("names", "now"),
    [
        pytest.param((*NAMES, "new.lan"), NOW, id="the gateway has one more name"),
        pytest.param(NAMES, END_NEAR, id="its end is near"),
    ],
)
def test_a_certificate_is_renewed_under_the_same_authority(
    tmp_path: Path, names: tuple[str, ...], now: datetime
) -> None:
    authority, server = identities(tmp_path, NAMES, NOW)
    authority_later, server_later = identities(tmp_path, names, now)
    assert authority_later.certificate == authority.certificate
    assert server_later.certificate != server.certificate
    assert still_good(server_later, authority, names, now)


@pytest.mark.parametrize("lost", ["authority.crt", "authority.key"])
def test_half_an_authority_left_by_a_power_cut_is_made_anew_with_all_below_it(
    tmp_path: Path, lost: str
) -> None:
    _, server = identities(tmp_path, NAMES, NOW)
    (tmp_path / lost).unlink()
    authority_later, server_later = identities(tmp_path, NAMES, NOW)
    assert server_later.certificate != server.certificate
    server_later.certificate.verify_directly_issued_by(authority_later.certificate)


def test_no_private_key_can_be_read_by_others(tmp_path: Path) -> None:
    identities(tmp_path, NAMES, NOW)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(
        ["authority.crt", "authority.key", "server.crt", "server.key"], 0o400
    )


def test_a_reader_whose_volume_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hand_over(b"secret", tmp_path / "policy" / "policy.password", 0)
