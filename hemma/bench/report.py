"""What every bench prints: figures, what they must be, and whether they are."""

import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Report:
    """The outcome of one bench."""

    bench: str
    figures: Mapping[str, float | None]
    """By key; the keys are stable and listed in docs/benchmarks.md. None: not measured."""
    must: Mapping[str, str]
    """What a figure has to be: `<= 2`."""

    @property
    def missed(self) -> list[str]:
        """Keys of the figures that are not what they must be."""
        return [key for key, bound in self.must.items() if not _holds(self.figures[key], bound)]

    @property
    def ok(self) -> bool:
        """Whether every figure is what it must be."""
        return not self.missed

    def as_json(self) -> str:
        """One object, on one line."""
        return json.dumps(
            {"bench": self.bench, "figures": self.figures, "must": self.must, "ok": self.ok}
        )

    def as_text(self) -> str:
        """A table for a person."""
        width = max(len(key) for key in self.figures)
        rows = [
            f"  {key:<{width}}  {_number(figure):>12}  {self.must.get(key, ''):<10}"
            f"{'  MISSED' if key in self.missed else ''}"
            for key, figure in self.figures.items()
        ]
        return "\n".join([f"{self.bench}: {'ok' if self.ok else 'MISSED'}", *rows])


def _holds(figure: float | None, bound: str) -> bool:
    sign, limit = bound.split()
    return figure is not None and _COMPARISONS[sign](figure, float(limit))


def _number(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4g}"
