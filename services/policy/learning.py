"""Learning how the inverters answer, beside the fast path."""

from services.policy import identify
from services.policy.core import CoreState
from services.policy.model import House, Unit
from services.policy.units import LEAST_RAMP_PER_S, Actuators, Learners, Seen, UnitState


def learn(state: CoreState, house: House) -> CoreState:
    """Learn from the reading just decided on; call it after the setpoints are on their way.

    Every ten seconds this takes some milliseconds, which would be missing in the fast path.
    """
    if house.grid is None or not state.seen or state.returning:
        return state
    grid_w = house.grid.power_w
    battery_sum_w = sum(seen.battery_w for seen in state.seen)
    outputs_w = [
        _output_w(unit, known, seen)
        for unit, known, seen in zip(house.units, state.units, state.seen, strict=True)
    ]
    learners, actuators = [], []
    for index, unit in enumerate(house.units):
        known, seen, old = state.units[index], state.seen[index], state.learners[index]
        held = _held(unit, known)
        new = Learners(
            _taught(
                old.battery,
                seen.at_s,
                grid_w + battery_sum_w - seen.battery_w,
                known.battery.command_w,
                state.decided_s,
                moves_the_grid=unit.has_battery and not held and not known.silent,
            ),
            _taught(
                old.ac,
                seen.at_s,
                grid_w + sum(outputs_w) - outputs_w[index],
                known.ac.command_w,
                state.decided_s,
                moves_the_grid=held and not known.silent,
            ),
        )
        new, known_now = _settled(unit, known, state.actuators[index], new)
        learners.append(new)
        actuators.append(known_now)
    return state._replace(learners=tuple(learners), actuators=tuple(actuators))


def _held(unit: Unit, known: UnitState) -> bool:
    return known.bound and known.ac_limit_w < unit.rated_power_w


def _output_w(unit: Unit, known: UnitState, seen: Seen) -> float:
    if _held(unit, known) or known.production_w is None:
        return seen.ac_w
    return known.production_w + seen.battery_w


def _taught(
    learner: identify.Learner,
    at_s: float,
    rest_w: float,
    command_w: float,
    sent_s: float,
    *,
    moves_the_grid: bool,
) -> identify.Learner:
    if moves_the_grid:
        return identify.take(learner, at_s, rest_w, command_w, sent_s)
    return identify.forget_segment(learner, command_w)


def _settled(
    unit: Unit, known: UnitState, present: Actuators, learners: Learners
) -> tuple[Learners, Actuators]:
    """Take over what was learned, once no command is on its way by the old figures."""
    ramp_w_per_s = LEAST_RAMP_PER_S * unit.rated_power_w
    battery, ac = learners
    battery_dynamics, ac_dynamics = present
    if battery.fresh and not known.battery.queue:
        battery_dynamics = identify.dynamics(battery, ramp_w_per_s, battery_dynamics)
        battery = battery._replace(fresh=False)
    if ac.fresh and not known.ac.queue:
        ac_dynamics = identify.dynamics(ac, ramp_w_per_s, ac_dynamics)
        ac = ac._replace(fresh=False)
    return Learners(battery, ac), Actuators(battery_dynamics, ac_dynamics)
