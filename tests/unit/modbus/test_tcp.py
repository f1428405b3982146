"""Modbus TCP and TLS against a server of the test's own, which can misbehave."""

import asyncio
import contextlib
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from runtime.modbus.errors import (
    BadFrameError,
    ExceptionCodeError,
    LinkDownError,
    NoAnswerError,
)
from runtime.modbus.request import READ_HOLDING, READ_INPUT, WRITE_MULTIPLE, Request
from runtime.modbus.tcp import TcpPort, TcpSettings


@dataclass
class Gateway:
    """Answers reads with the address of each register, one request after the other."""

    pieces: bool = False
    """Send each byte on its own."""
    spoil: Callable[[bytes], bytes | None] = lambda answer: answer
    """What becomes of an answer; None: it is not sent."""
    late_s: float = 0.0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(6)
                body = await reader.readexactly(int.from_bytes(head[4:], "big"))
                self.requests.append(body)
                late_s, self.late_s = self.late_s, 0.0
                await asyncio.sleep(late_s)
                answer = self.spoil(head[:4] + _answer(body))
                for piece in (
                    [answer[i : i + 1] for i in range(len(answer or b""))]
                    if (self.pieces and answer)
                    else [answer or b""]
                ):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()


def _answer(body: bytes) -> bytes:
    unit, function, address, count = struct.unpack(">BBHH", body[:6])
    if address == 666:
        pdu = bytes((unit, function | 0x80, 2))
    elif function == WRITE_MULTIPLE:
        pdu = body[:6]
    else:
        words = range(address, address + count)
        pdu = struct.pack(f">BBB{count}H", unit, function, 2 * count, *words)
    return len(pdu).to_bytes(2, "big") + pdu


@contextlib.asynccontextmanager
async def listening(gateway: Gateway, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        gateway.hang_up()
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def connected(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[TcpPort]:
    client = TcpPort(TcpSettings("127.0.0.1", port, tls, settle_s=0.0, window_s=0.05))
    await client.open()
    try:
        yield client
    finally:
        client.close()


def read(address: int, count: int = 3, unit: int = 1) -> Request:
    return Request(unit, READ_HOLDING, address, count)


async def test_registers_are_read_and_written() -> None:
    gateway = Gateway()
    async with listening(gateway) as port, connected(port) as client:
        assert (await client.transact(read(100))).words == (100, 101, 102)
        assert (await client.transact(Request(1, READ_INPUT, 7, 1))).words == (7,)
        assert (await client.transact(Request(0, READ_HOLDING, 7, 1))).words == (7,)
        assert (await client.transact(Request(3, WRITE_MULTIPLE, 5, 1, (9,)))).words == ()
    assert gateway.requests[-1] == bytes.fromhex("03100005000102 0009".replace(" ", ""))
    assert client.figures(1).answered == 2


async def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    gateway = Gateway(late_s=0.08)
    async with listening(gateway) as port, connected(port) as client:
        with pytest.raises(NoAnswerError):
            await client.transact(read(100))
        assert (await client.transact(read(200))).words == (200, 201, 202)
        assert client.figures(1).timed_out == 1


async def test_an_answer_may_come_in_pieces() -> None:
    gateway = Gateway(pieces=True)
    async with listening(gateway) as port, connected(port) as client:
        assert (await client.transact(read(100, 60))).words == tuple(range(100, 160))


async def test_an_exception_is_told_by_its_code() -> None:
    async with listening(Gateway()) as port, connected(port) as client:
        with pytest.raises(ExceptionCodeError) as refusal:
            await client.transact(read(666))
        assert refusal.value.code == 2


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda answer: answer[:5] + b"\x05" + answer[6:8] + b"\x02\0\1", id="short"),
        pytest.param(lambda answer: b"\x77\x77" + answer[2:], id="another transaction"),
        pytest.param(lambda answer: answer[:6] + b"\x63" + answer[7:], id="another unit"),
        pytest.param(lambda _: b"\0\0garbage", id="garbage"),
        pytest.param(lambda _: None, id="nothing"),
    ],
)
async def test_what_is_not_the_answer_is_not_believed(
    spoil: Callable[[bytes], bytes | None],
) -> None:
    gateway = Gateway(spoil=spoil)
    async with listening(gateway) as port, connected(port) as client:
        with pytest.raises((BadFrameError, NoAnswerError)):
            await client.transact(read(100))
        gateway.spoil = lambda answer: answer
        assert (await client.transact(read(300))).words == (300, 301, 302)


async def test_a_connection_that_broke_is_opened_again() -> None:
    gateway = Gateway()
    async with listening(gateway) as port, connected(port) as client:
        await client.transact(read(100))
        gateway.hang_up()
        await asyncio.sleep(0.01)
        with pytest.raises(LinkDownError):
            await client.transact(read(100))
        await client.open()
        assert (await client.transact(read(100))).words == (100, 101, 102)
        assert gateway.connections == 2


async def test_a_connection_on_which_nobody_answers_is_given_up() -> None:
    gateway = Gateway(spoil=lambda _: None)
    async with listening(gateway) as port, connected(port) as client:
        for _ in range(5):
            with pytest.raises(NoAnswerError):
                await client.transact(read(100))
        with pytest.raises(LinkDownError):
            await client.transact(read(100))


async def test_nobody_listening_is_said() -> None:
    async with listening(Gateway()) as port:
        pass
    with pytest.raises(LinkDownError, match=str(port)):
        await TcpPort(TcpSettings("127.0.0.1", port, settle_s=0)).open()


async def test_the_pause_that_a_gateway_needs_is_kept() -> None:
    gateway = Gateway()
    async with listening(gateway) as port:
        client = TcpPort(TcpSettings("127.0.0.1", port, settle_s=0.05, silence_s=0.03))
        began_s = time.monotonic()
        await client.open()
        for _ in range(3):
            await client.transact(read(1))
        assert time.monotonic() - began_s >= 0.05 + 2 * 0.03
        client.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "inverter")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "inverter.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


def client_context(trusted: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if trusted is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(trusted)
    return context


async def test_the_same_works_inside_tls(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    gateway = Gateway(pieces=True)
    async with (
        listening(gateway, server) as port,
        connected(port, client_context(certificate)) as client,
    ):
        assert (await client.transact(read(100, 60))).words == tuple(range(100, 160))


async def test_a_certificate_that_nobody_trusts_is_refused(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with listening(Gateway(), server) as port:
        client = TcpPort(TcpSettings("127.0.0.1", port, client_context(None), settle_s=0))
        with pytest.raises(LinkDownError):
            await client.open()
