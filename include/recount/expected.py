"""Which results must exist, by the input alone and by how far the ledger says that windows are closed."""

from dataclasses import dataclass
from decimal import Decimal

from recount import totals
from recount.definition import Window
from recount.ledger import Ledger, Revision
from recount.picture import Picture
from recount.totals import Cell, Number, Numbers


@dataclass(frozen=True, slots=True)
class Expected:
    """The results of one window output, counted again."""

    window: Window
    numbers: dict[Cell, Numbers]
    batches: dict[Cell, frozenset[int]]
    closed_until: Number
    complete_from: Number

    def window_end(self, cell: Cell) -> Number:
        """The end of a cell's window, in seconds since 1970 UTC."""
        return cell.window_start + self.window.size_s

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
            wrong.append(f"{cell}: {self._show(found.numbers)}, the input gives {self._show(numbers)}")
        if found.is_final != self.is_final(cell):
            wrong.append(f"{cell}: is_final is {found.is_final}")
        return wrong

    def _show(self, numbers: Numbers | None) -> str:
        return totals.show(self.window, numbers)


def expected(picture: Picture, output: int) -> Expected:
    """What output number `output` of the definition must show."""
    window = picture.ledger.definition.windows[output]
    per_batch = picture.counted.per_batch[output]
    return Expected(
        window=window,
        numbers=totals.over_batches(window, per_batch),
        batches=totals.batches(per_batch),
        closed_until=_or(picture.ledger.closed_until, "-Infinity"),
        complete_from=_complete_from(picture.ledger),
    )


def still_open(picture: Picture, expected: Expected) -> list[str]:
    """Where everything is said to be settled, windows with events that are not closed."""
    if not picture.settled:
        return []
    cells = [cell for cell in expected.numbers if not expected.is_closed(cell)]
    return [f"{cell}: its window is still open" for cell in cells]


def _complete_from(ledger: Ledger) -> Number:
    """Null says that no window is complete."""
    return _or(ledger.complete_from, "Infinity")


def _or(found: Decimal | None, otherwise: str) -> Decimal:
    return Decimal(otherwise) if found is None else found
