"""Which results must exist, by the input alone and by how far the ledger says that windows are closed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from recount import totals, windows
from recount.definition import Window
from recount.errors import InvalidError
from recount.ledger import Ledger
from recount.picture import Picture
from recount.scope import Scope
from recount.tables import Revision
from recount.totals import Cell, Number, Numbers, Partials, PerBatch

_SHOWN_BATCHES: Final = 5
_NEVER: Final = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Expected:
    """The results of one window output, counted again; `lacking`: cells of which some batch lacks a measure."""

    window: Window
    scope: Scope
    numbers: dict[Cell, Numbers]
    batches: dict[Cell, frozenset[int]]
    lacking: frozenset[Cell]
    closed_until: Number
    complete_from: Number

    def window_end(self, cell: Cell) -> Number:
        """The end of a cell's window, in seconds since 1970 UTC; infinite beyond the calendar."""
        try:
            return windows.end_s(self.window, int(cell.window_start))
        except InvalidError:
            return _NEVER

    def is_closed(self, cell: Cell) -> bool:
        """Whether the results of this window must be published."""
        return self.window_end(cell) <= self.closed_until

    def is_final(self, cell: Cell) -> bool:
        """Whether they must be marked as final."""
        return self.is_closed(cell) and cell.window_start >= self.complete_from

    def differences(self, cell: Cell, found: Revision | None) -> list[str]:
        """What is wrong with the newest revision of a cell; `found` None or a retraction: there is no result.

        The numbers of open windows may lag behind, so they are not judged.
        """
        numbers = self.numbers.get(cell)
        if not self.is_closed(cell):
            return [f"{cell}: final, but its window is open"] if found and found.is_final else []
        if found is None or found.numbers is None:
            return [f"{cell}: missing, the input gives {self._show(numbers)}"] if numbers is not None else []
        if numbers is None:
            return [f"{cell}: {self._show(found.numbers)}, but the input has nothing for it"]
        wrong = []
        if found.numbers != numbers:
            of = f"of {'batch' if len(self.batches[cell]) == 1 else 'batches'} {_listed(self.batches[cell])}"
            wrong.append(f"{cell}: {self._show(found.numbers)}, the input gives {self._show(numbers)} ({of})")
        if found.is_final != self.is_final(cell):
            wrong.append(f"{cell}: is_final is {found.is_final}")
        return wrong

    @property
    def note(self) -> str:
        """How many closed cells are not judged in all of their measures."""
        count = sum(self.is_closed(cell) for cell in self.lacking)
        return f"{count} with a measure added later, which is null and not judged" if count else ""

    def _show(self, numbers: Numbers | None) -> str:
        return totals.show(self.window, numbers)


def expected(picture: Picture, output: int) -> Expected:
    """What window output number `output` of the definition must show.

    What batches have stored that are not counted again is taken as it is. A total is null if a contribution to it was
    not computed, because its measure was added later.
    """
    window = picture.ledger.definition.windows[output]
    stored = picture.ledger.tables[output].contributions
    per_batch = _judged(picture.scope, picture.counted.per_batch[output], stored)
    lacking = _lacking(at for at in stored.items() if picture.scope.has(at[0][1].window_start))
    return Expected(
        window=window,
        scope=picture.scope,
        numbers={
            cell: _without(totals.numbers(window.measures, partials), lacking.get(cell, frozenset()))
            for cell, partials in totals.over_batches(window, per_batch).items()
        },
        batches=totals.batches(per_batch),
        lacking=frozenset(lacking),
        closed_until=_or(picture.ledger.closed_until, "-Infinity"),
        complete_from=_complete_from(picture.ledger),
    )


def still_open(picture: Picture, expected: Expected) -> list[str]:
    """Where everything is said to be settled, windows with events that are not closed."""
    if not picture.settled:
        return []
    cells = [cell for cell in expected.numbers if not expected.is_closed(cell)]
    return [f"{cell}: its window is still open" for cell in cells]


def _listed(batches: frozenset[int]) -> str:
    shown = ", ".join(map(str, sorted(batches)[:_SHOWN_BATCHES]))
    return shown if len(batches) <= _SHOWN_BATCHES else f"{shown}, … ({len(batches)})"


def _judged(scope: Scope, counted: PerBatch, stored: Mapping[tuple[int, Cell], Partials]) -> PerBatch:
    """What the totals of the windows that are judged are made of."""
    taken = {at: partials for at, partials in stored.items() if not scope.reads(at[0])}
    both = counted | taken
    return both if scope.interval is None else {at: both[at] for at in both if scope.has(at[1].window_start)}


def _lacking(contributions: Iterable[tuple[tuple[int, Cell], Partials]]) -> dict[Cell, frozenset[int]]:
    """The cells of which some contribution lacks measures, and which ones."""
    found: dict[Cell, frozenset[int]] = {}
    for (_, cell), partials in contributions:
        missing = frozenset(at for at, (_, count) in enumerate(partials) if count is None)
        if missing:
            found[cell] = found.get(cell, frozenset()) | missing
    return found


def _without(numbers: Numbers, missing: frozenset[int]) -> Numbers:
    return tuple(None if at in missing else number for at, number in enumerate(numbers))


def _complete_from(ledger: Ledger) -> Number:
    """Null says that no window is complete."""
    return _or(ledger.complete_from, "Infinity")


def _or(found: Decimal | None, otherwise: str) -> Decimal:
    return Decimal(otherwise) if found is None else found
