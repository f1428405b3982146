"""The control port: JSON lines over loopback TCP, one object in, one object out.

| do | keys | effect |
|---|---|---|
| state | | the whole physical truth, reports of lines and ports, faults that are on |
| fault | kind, unit, seconds, and the fault's own keys | puts a fault on |
| clear | kind, unit (both may be left out) | takes faults off |
| load | watts, phase (1 to 3; none spreads) | sets the extra load |
| pv | unit, and scale or watts (null: the sky again) | changes the light on one or all inverters |
| soc | unit, soc_pct | sets a state of charge |
| watch | name, limit_w, tolerance_w, each_phase | starts to judge the export |
| watch | name | the judgement so far |
| watch | name, stop: true | the judgement, and its end |
| trace | seconds, period_s | the last seconds by column |
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from sim.faults import ABOUT_MEASUREMENT, CT, Faults
from sim.grid import PHASES
from sim.plant import Plant
from sim.tcp import LOOPBACK
from sim.watch import Watch

LONGEST_LINE = 65536
Order = Mapping[str, Any]


class OrderError(ValueError):
    """An order that makes no sense; says why."""


def _number(order: Order, name: str, default: float | None = None) -> float:
    number = order.get(name, default)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise OrderError(f"{name} must be a number")
    return float(number)


class Control:
    """Carries out orders on a plant.

    Args:
        plant: What is ordered about.
        port: 0 picks a free one.
    """

    def __init__(self, plant: Plant, port: int = 0) -> None:
        self.host = LOOPBACK
        self.port = port
        self.faults = Faults(plant)
        self._plant = plant
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._at_once = {
            "load": self._load,
            "pv": self._pv,
            "soc": self._soc,
            "watch": self._watch,
            "trace": self._trace,
        }

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, limit=LONGEST_LINE
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take all faults off and close."""
        await self.faults.clear()
        if self._server:
            self._server.close()
            for writer in tuple(self._clients):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def answer(self, line: bytes) -> dict[str, Any]:
        """What one line gets back; `ok` says whether it was carried out."""
        try:
            order = json.loads(line)
            if not isinstance(order, dict):
                raise OrderError("must be an object")
            return {"ok": True, **await self.carry_out(order)}
        except (ValueError, KeyError, UnicodeDecodeError) as error:
            reason = f"no unit {error}" if isinstance(error, KeyError) else str(error)
            return {"ok": False, "error": reason}

    async def carry_out(self, order: Order) -> dict[str, Any]:
        """Carry out one order.

        Raises:
            OrderError: It makes no sense.
            FaultError: The fault cannot be put on.
            KeyError: There is no such unit.
        """
        match order.get("do"):
            case "state":
                return {**self._plant.state(), "faults": self.faults.state()}
            case "fault":
                return await self._fault(order)
            case "clear":
                return {"cleared": await self.faults.clear(order.get("kind"), order.get("unit"))}
            case str(verb) if verb in self._at_once:
                return self._at_once[verb](order)
            case other:
                raise OrderError(f"no order {other!r}")

    async def _fault(self, order: Order) -> dict[str, Any]:
        kind = str(order.get("kind"))
        unit = str(order.get("unit", CT if kind in ABOUT_MEASUREMENT else ""))
        seconds = _number(order, "seconds") if order.get("seconds") is not None else None
        options = {k: v for k, v in order.items() if k not in ("do", "kind", "unit")}
        await self.faults.order(kind, unit, seconds, options)
        return {}

    def _load(self, order: Order) -> dict[str, Any]:
        watts, phase = _number(order, "watts"), order.get("phase")
        house = self._plant.house
        if phase is None:
            share_w = watts / len(house.phases)
            house.extra_w = [share_w if i in house.phases else 0.0 for i in range(PHASES)]
        elif phase in range(1, PHASES + 1):
            house.extra_w = [watts if i == phase - 1 else w for i, w in enumerate(house.extra_w)]
        else:
            raise OrderError("phase must be 1, 2 or 3")
        return {"extra_load_w": house.extra_w}

    def _pv(self, order: Order) -> dict[str, Any]:
        name = order.get("unit")
        units = self._plant.house.units if name is None else [self._plant.unit(str(name))]
        if "scale" not in order and "watts" not in order:
            raise OrderError("scale or watts must be given")
        for unit in units:
            if "scale" in order:
                unit.pv_scale = max(0.0, _number(order, "scale"))
            if "watts" in order:
                watts = None if order["watts"] is None else max(0.0, _number(order, "watts"))
                unit.pv_override_w = watts
        return {}

    def _soc(self, order: Order) -> dict[str, Any]:
        battery = self._plant.unit(str(order.get("unit"))).device.stage.battery
        soc_pct = _number(order, "soc_pct")
        if battery is None or not 0 <= soc_pct <= 100:  # noqa: PLR2004 - per cent
            raise OrderError("needs a unit with a battery, and soc_pct from 0 to 100")
        with self._plant.lock:
            battery.soc_pct = soc_pct
        return {}

    def _watch(self, order: Order) -> dict[str, Any]:
        name, watches = str(order.get("name", "watch")), self._plant.watches
        if "limit_w" in order:
            watches[name] = Watch(
                limit_w=_number(order, "limit_w"),
                tolerance_w=_number(order, "tolerance_w", 0.0),
                each_phase=bool(order.get("each_phase", False)),
            )
        elif name not in watches:
            raise OrderError(f"no watch {name!r}")
        watch = watches.pop(name) if order.get("stop") else watches[name]
        return {"watch": asdict(watch)}

    def _trace(self, order: Order) -> dict[str, Any]:
        seconds, period_s = _number(order, "seconds", 60), _number(order, "period_s", 0.1)
        return {"trace": self._plant.history.last(seconds, period_s)}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        with suppress(ConnectionError, asyncio.LimitOverrunError, ValueError):
            while line := await reader.readline():
                writer.write(json.dumps(await self.answer(line)).encode() + b"\n")
                await writer.drain()
        self._clients.discard(writer)
        writer.close()
