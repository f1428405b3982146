"""What a container can reach: nothing but what its process needs."""

import socket
import ssl
from pathlib import Path

import pytest

from hemma import registry
from tests.container.conftest import PROCESSES, Compose

pytestmark = pytest.mark.container

CONNECT_WITHOUT_PASSWORD = bytes.fromhex("100d 0004 4d515454 05 02 003c 00 0000")
NOT_AUTHORISED = 0x87
"""Reason code of MQTT 5.0, 3.2.2.2."""


@pytest.mark.parametrize("name", PROCESSES)
def test_no_container_runs_as_root_or_may_become_it(gateway: Compose, name: str) -> None:
    told = gateway.run("exec", "-T", name, "sh", "-c", "cat /proc/[0-9]*/status").splitlines()
    facts = [line.split(":", 1) for line in told if ":" in line]
    assert not [ids for fact, ids in facts if fact == "Uid" and "0" in ids.split()]
    assert not [held for fact, held in facts if fact in {"CapEff", "CapBnd"} and int(held, 16)]
    assert {flag.strip() for fact, flag in facts if fact == "NoNewPrivs"} == {"1"}


@pytest.mark.parametrize("name", PROCESSES)
def test_the_root_of_a_container_cannot_be_written(gateway: Compose, name: str) -> None:
    for place in ("/", "/usr/lib", "/etc"):
        refused = gateway.attempt("exec", "-T", "-u", "0", name, "touch", f"{place}/left-behind")
        assert refused.returncode != 0
        assert "Read-only file system" in refused.stderr


@pytest.mark.parametrize("name", registry.NAMES)
def test_a_process_can_read_its_own_password_and_no_other(gateway: Compose, name: str) -> None:
    secrets = r"\( -name '*.password' -o -name '*.key' -o -name 'dynamic-security*' \)"
    found = gateway.attempt(
        "exec",
        "-T",
        name,
        "sh",
        "-c",
        f"find / -path /proc -prune -o {secrets} -printf '%m %U %p\\n'",
    ).stdout
    assert found == f"400 10001 /run/hemma/credentials/{name}.password\n"


def test_the_lan_is_met_with_a_certificate_of_the_house_s_own_authority(
    gateway: Compose, tmp_path: Path
) -> None:
    gateway.run("cp", "broker:/run/broker/ca.crt", str(tmp_path))
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    with (
        socket.create_connection(("127.0.0.1", gateway.lan_port), timeout=5) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as lan,
    ):
        assert lan.version() in {"TLSv1.2", "TLSv1.3"}
        lan.sendall(CONNECT_WITHOUT_PASSWORD)
        answer = lan.recv(16)
    assert answer[0] == 0x20, "CONNACK"
    assert answer[3] == NOT_AUTHORISED

    stranger = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", gateway.lan_port), timeout=5) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        stranger.wrap_socket(plain, server_hostname="localhost")


def test_the_plain_listener_is_not_published(gateway: Compose) -> None:
    published = gateway.container("broker")["NetworkSettings"]["Ports"]
    assert not published.get("1883/tcp")
    assert {port["HostIp"] for port in published["8883/tcp"]} == {"127.0.0.1"}


def test_the_init_container_is_gone_once_its_work_is_done(gateway: Compose) -> None:
    state = gateway.container("init")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
