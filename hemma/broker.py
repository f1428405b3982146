"""Mosquitto for Hemma: credentials made at first start, rights generated from what actors declare.

Rights are enforced by Mosquitto's dynamic security plugin rather than an `acl_file`: the plugin
refuses a subscription outright, where an access list grants it and then delivers nothing; and the
file's format is the same in 2.0 and 2.1, which deprecates `acl_file`.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from getpass import getuser
from pathlib import Path
from typing import Any

from bus.message import ROOT, Command, Message, reply_address
from bus.system import Faults, Health, Online
from hemma import registry
from runtime.actor import Actor

OPERATOR = "hemma"
"""The credential of the `hemma` command itself: hears everything, may send commands."""

PBKDF2_ROUNDS = 20_000
"""The passwords are 256 random bits, so rounds only cost start-up time."""

PLUGIN_PLACES = ("usr/lib/*/", "usr/lib/", "usr/local/lib/", "opt/homebrew/lib/")

Rights = dict[str, list[str]]


class BrokerMissingError(Exception):
    """Mosquitto or its dynamic security plugin is not on this machine."""


def rights_of(actor: type[Actor]) -> Rights:
    """What one process may publish and subscribe to: what it declares, and nothing else."""
    name = actor.name
    hears = [kind for kind in actor.handlers if issubclass(kind, Message)]
    said: tuple[type[Message], ...] = (Online, Faults, Health, *actor.publishes)
    publish = [kind.topic.filter(process=name) for kind in said]
    publish += [kind.topic.filter() for kind in actor.requests]
    if any(issubclass(kind, Command) for kind in hears):
        publish.append(reply_address(name, "+"))
    subscribe = [kind.topic.filter() for kind in hears]
    subscribe += [reply_address(callee, name) for callee in {c.topic.owner for c in actor.requests}]
    return {"publish": sorted(set(publish)), "subscribe": sorted(set(subscribe))}


def access() -> dict[str, Rights]:
    """The rights of every credential by name."""
    rights = {name: rights_of(registry.actor_class(name)) for name in registry.NAMES}
    operator = {"publish": [f"{ROOT}/+/cmd/#"], "subscribe": [f"{ROOT}/#"]}
    return {**rights, OPERATOR: operator}


def plugin_file(rights: Mapping[str, Rights], passwords: Mapping[str, str]) -> dict[str, Any]:
    """The plugin's file: a role and a client a credential; what is not allowed is denied."""
    return {
        "defaultACLAccess": {
            "publishClientSend": False,
            "publishClientReceive": False,
            "subscribe": False,
            "unsubscribe": True,
        },
        "roles": [_role(name, rights[name]) for name in rights],
        "clients": [_client(name, passwords[name]) for name in rights],
        "groups": [],
    }


def _role(name: str, rights: Rights) -> dict[str, Any]:
    kinds = {
        "publishClientSend": rights["publish"],
        "publishClientReceive": rights["subscribe"],
        "subscribePattern": rights["subscribe"],
    }
    acls = [
        {"acltype": kind, "topic": topic, "priority": 0, "allow": True}
        for kind, topics in kinds.items()
        for topic in topics
    ]
    return {"rolename": name, "acls": acls}


def _client(name: str, password: str) -> dict[str, Any]:
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ROUNDS)
    return {
        "username": name,
        "textname": name,
        "salt": base64.b64encode(salt).decode(),
        "password": base64.b64encode(digest).decode(),
        "iterations": PBKDF2_ROUNDS,
        "roles": [{"rolename": name, "priority": 0}],
    }


def make_credentials(folder: Path, rights: Mapping[str, Rights]) -> Path:
    """Make a password a process where there is none yet, and the plugin's file for them all.

    Files are readable by their owner only. The plugin's file is made anew each time, so that rights
    follow the code.

    Returns:
        The plugin's file.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    passwords = {name: _password(folder / f"{name}.password") for name in rights}
    file = folder / "dynamic-security.json"
    _write_private(file, json.dumps(plugin_file(rights, passwords), indent=1))
    return file


def _password(file: Path) -> str:
    if not file.exists():
        _write_private(file, secrets.token_urlsafe(32))
    return file.read_text().strip()


def _write_private(file: Path, text: str) -> None:
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    temporary.replace(file)


def find_mosquitto() -> tuple[str, str]:
    """The program and its plugin.

    Raises:
        BrokerMissingError: With what to install.
    """
    program = shutil.which(
        "mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    )
    plugins = [
        str(path)
        for place in PLUGIN_PLACES
        for path in Path("/").glob(f"{place}mosquitto_dynamic_security.so")
    ]
    if program is None or not plugins:
        raise BrokerMissingError(
            "Mosquitto 2 is not installed: `sudo apt-get install mosquitto` on Debian or Ubuntu"
        )
    return program, plugins[0]


def configuration(folder: Path, plugin: str, rights_file: Path, port: int) -> str:
    """mosquitto.conf for a broker on the loopback of this machine."""
    return "\n".join(
        [
            f"user {getuser()}",
            f"listener {port} 127.0.0.1",
            "allow_anonymous false",
            f"plugin {plugin}",
            f"plugin_opt_config_file {rights_file}",
            *_common_lines(folder),
            "",
        ]
    )


def _common_lines(folder: Path) -> Iterable[str]:
    return (
        "set_tcp_nodelay true",
        "persistence true",
        f"persistence_location {folder}/",
        "autosave_interval 300",
        "persistent_client_expiration 1h",
        "max_queued_messages 2000",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "connection_messages false",
    )


def prepare(folder: Path, credentials: Path, port: int, rights: Mapping[str, Rights]) -> list[str]:
    """Write everything a local broker needs and return the command that starts it.

    Raises:
        BrokerMissingError: Mosquitto is not installed.
    """
    program, plugin = find_mosquitto()
    folder.mkdir(parents=True, exist_ok=True)
    rights_file = make_credentials(credentials, rights)
    conf = folder / "mosquitto.conf"
    conf.write_text(configuration(folder, plugin, rights_file.resolve(), port))
    return [program, "-c", str(conf)]
