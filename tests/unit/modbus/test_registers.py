"""Registers are decoded and encoded exactly, and what is unavailable is None."""

from fractions import Fraction
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.modbus.registers import Register, RegisterTable, Type


def row(kind: Type, count: int, **more: object) -> Register:
    return Register(name="x", address=100, type=kind, count=count, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("register", "words", "expected"),
    [
        pytest.param(row(Type.U16, 1), (500,), 500, id="unsigned"),
        pytest.param(row(Type.I16, 1, gain=Fraction(10)), (0xFFFE,), -0.2, id="signed, tenths"),
        pytest.param(row(Type.I32, 2, sign=-1), (0xFFFF, 0xFC18), 1000, id="turned sign"),
        pytest.param(row(Type.U32, 2, gain=Fraction(1, 10)), (1, 2), 655380, id="10 Wh a count"),
        pytest.param(row(Type.U64, 4), (0, 0, 1, 0), 65536, id="64 bits"),
        pytest.param(row(Type.F32, 2), (0x4366, 0x0000), 230.0, id="float"),
        pytest.param(row(Type.F32, 2), (0x7FC0, 0x0000), None, id="float, not a number"),
        pytest.param(row(Type.F32, 2), (0x7F80, 0x0000), None, id="float, infinite"),
        pytest.param(row(Type.BITS16, 1), (0xFFFF,), 0xFFFF, id="all bits are legal"),
        pytest.param(row(Type.STR, 3), (0x4142, 0x4300, 0xFFFF), "ABC", id="text ends at NUL"),
        pytest.param(row(Type.STR, 2), (0xFFFF, 0xFFFF), None, id="text of padding"),
        pytest.param(row(Type.STR, 2), (0, 0), None, id="empty text"),
        pytest.param(row(Type.U16, 1, sentinel=0xFFFF), (0xFFFF,), None, id="U16 unavailable"),
        pytest.param(row(Type.I16, 1, sentinel=0x7FFF), (0x7FFF,), None, id="I16 unavailable"),
        pytest.param(row(Type.I16, 1, sentinel=0x7FFF), (0xFFFF,), -1, id="I16 minus one"),
    ],
)
def test_registers_say(
    register: Register, words: tuple[int, ...], expected: float | str | None
) -> None:
    assert register.decode(words) == expected


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("U16", (0xFFFF,)),
        ("I16", (0x7FFF,)),
        ("U32", (0xFFFF, 0xFFFF)),
        ("I32", (0x7FFF, 0xFFFF)),
        ("U64", (0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF)),
        ("I64", (0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF)),
    ],
)
def test_a_table_knows_each_type_s_word_for_unavailable(kind: str, words: tuple[int, ...]) -> None:
    table = RegisterTable.from_csv(
        StringIO(
            f"name,address,count,type,sentinel\na,1,{len(words)},{kind},\nb,9,{len(words)},{kind},none\n"
        )
    )
    assert table["a"].decode(words) is None
    assert table["b"].decode(words) is not None


@given(
    kind=st.sampled_from([Type.U16, Type.I16, Type.U32, Type.I32, Type.U64, Type.I64]),
    gain=st.sampled_from(
        [Fraction(1), Fraction(10), Fraction(100), Fraction(1000), Fraction(1, 10)]
    ),
    sign=st.sampled_from([1, -1]),
    raw=st.integers(0, 2**64 - 1),
)
def test_what_was_read_can_be_written_back_exactly(
    kind: Type, gain: Fraction, sign: int, raw: int
) -> None:
    count = int(kind[1:]) // 16
    # beyond 2**53 a float cannot hold the count, and no device has such a register
    raw %= min(2 ** (16 * count), 2**50)
    register = row(kind, count, gain=gain, sign=sign)
    words = tuple(raw >> 16 * i & 0xFFFF for i in reversed(range(count)))
    said = register.decode(words)
    assert isinstance(said, (int, float))
    assert register.encode(said) == words


@pytest.mark.parametrize(
    ("register", "quantity"),
    [
        pytest.param(row(Type.U16, 1), -1, id="below"),
        pytest.param(row(Type.U16, 1), 65536, id="above"),
        pytest.param(row(Type.I16, 1, gain=Fraction(10)), 4000.0, id="above, with gain"),
        pytest.param(row(Type.U32, 2), float("nan"), id="not a number"),
        pytest.param(row(Type.U32, 2), float("inf"), id="infinite"),
        pytest.param(row(Type.U16, 1, sentinel=0xFFFF), 65535, id="reads as unavailable"),
        pytest.param(row(Type.STR, 2), 1.0, id="text"),
    ],
)
def test_what_does_not_fit_is_not_written(register: Register, quantity: float) -> None:
    with pytest.raises(ValueError, match="x:"):
        register.encode(quantity)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("a,1,2,U16", "takes 1 registers"),
        ("a,1,1,U16\na,2,1,U16", "stands twice"),
        ("a,1,2,U32\nb,2,1,U16", "overlap"),
        ("a,1,1,U17", "a:"),
        ("a,65535,2,U32", "do not exist"),
    ],
)
def test_a_table_with_a_mistake_is_refused(rows: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        RegisterTable.from_csv(StringIO("name,address,count,type\n" + rows))


def test_a_row_of_which_a_word_was_not_read_is_none() -> None:
    table = RegisterTable.from_csv(StringIO("name,address,count,type\na,1,2,U32\nb,7,1,U16\n"))
    assert table.decode(table.values(), {1: 0, 7: 5}) == {"a": None, "b": 5}
