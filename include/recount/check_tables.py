"""The tables of each window output against the input: contributions, results, history."""

from itertools import pairwise

from recount.expected import Expected, expected, still_open
from recount.ledger import Revision, Tables
from recount.picture import Picture
from recount.report import Finding
from recount.totals import Cell, Number, show


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    findings = []
    for output, tables in enumerate(picture.ledger.tables):
        if tables is not None:
            should = expected(picture, output)
            findings += [
                _contributions(picture, output, tables),
                _results(picture, should, tables),
                _sums(should, tables),
                _history(picture, should, tables),
            ]
    return findings


def _contributions(picture: Picture, output: int, tables: Tables) -> Finding:
    """Each batch contributes what its messages give, in open windows too."""
    counted, found = picture.counted.per_batch[output], tables.contributions
    window = picture.ledger.definition.windows[output]
    wrong = [
        f"batch {at[0]}, {at[1]}: {show(window, found.get(at))}, the input gives {show(window, counted.get(at))}"
        for at in sorted(found.keys() | counted.keys(), key=str)
        if found.get(at) != counted.get(at)
    ]
    return Finding(f"{window.name}_contribution = input", len(counted), tuple(wrong))


def _results(picture: Picture, should: Expected, tables: Tables) -> Finding:
    """Closed windows have exactly the results that the input gives."""
    cells = sorted(should.numbers.keys() | tables.results.keys(), key=str)
    wrong = [text for cell in cells for text in should.differences(cell, tables.results.get(cell))]
    wrong += still_open(picture, should)
    wrong += [
        f"{cell}: window_end is {row.window_end}"
        for cell, row in tables.results.items()
        if row.window_end != should.window_end(cell)
    ]
    closed = sum(should.is_closed(cell) for cell in should.numbers)
    return Finding(f"{should.window.name} = input", closed, tuple(wrong))


def _sums(should: Expected, tables: Tables) -> Finding:
    """Results of closed windows are the sums of the contributions that are stored beside them."""
    sums: dict[Cell, list[Number]] = {}
    for (_, cell), numbers in tables.contributions.items():
        before = sums.get(cell) or [0] * len(numbers)
        sums[cell] = [a + b for a, b in zip(before, numbers, strict=True)]
    cells = [cell for cell in sums.keys() | tables.results.keys() if should.is_closed(cell)]
    wrong = []
    for cell in sorted(cells, key=str):
        row, total = tables.results.get(cell), sums.get(cell)
        if row is None or total is None or list(row.numbers or ()) != total:
            wrong.append(
                f"{cell}: {show(should.window, row.numbers if row else None)}, "
                f"contributions give {show(should.window, total)}"
            )
    return Finding(f"{should.window.name} = its contributions", len(cells), tuple(wrong))


def _history(picture: Picture, should: Expected, tables: Tables) -> Finding:
    """Revisions 1, 2, 3, …, each a change, the last one the result, with the batches it sums."""
    wrong = []
    for cell in sorted(tables.history.keys() | tables.results.keys(), key=str):
        revisions = tables.history.get(cell, [])
        wrong += [f"{cell}: {text}" for text in sequence(revisions)]
        wrong += [f"{cell}: {text}" for text in _last(revisions, tables.results.get(cell))]
        wrong += [f"{cell}: {text}" for text in _batches(picture, should, cell, revisions)]
    return Finding(f"{should.window.name}_history", sum(len(r) for r in tables.history.values()), tuple(wrong))


def sequence(revisions: list[Revision], holes_allowed: bool = False) -> list[str]:
    """What is wrong with the order of a key's revisions: gaps, repeats, no change, final and then not."""
    numbers = [revision.number for revision in revisions]
    wrong = []
    if numbers != list(range(1, len(numbers) + 1)) and not holes_allowed:
        wrong.append(f"revisions are {', '.join(map(str, numbers))}")
    for left, right in pairwise(revisions):
        if right.number <= left.number and holes_allowed:
            wrong.append(f"revision {right.number} follows {left.number}")
        if left.shown == right.shown and right.number == left.number + 1:
            wrong.append(f"revision {right.number} repeats {left.number}")
        if left.is_final and not right.is_final and right.numbers is not None and left.numbers is not None:
            wrong.append(f"revision {right.number} is not final, {left.number} was")
    return wrong


def _last(revisions: list[Revision], result: Revision | None) -> list[str]:
    """What differs between the last revision and the result."""
    last = revisions[-1] if revisions else None
    wrong = [f"revision {r.number} says that it still holds" for r in revisions[:-1] if r.is_open]
    if last is None or last.numbers is None:
        return [*wrong, "a result without a revision that holds"] if result is not None else wrong
    if result is None:
        return [*wrong, f"revision {last.number} holds, but there is no result"]
    if not last.is_open:
        wrong.append(f"revision {last.number} is the last, but no longer holds")
    if (last.number, *last.shown, last.window_end) != (result.number, *result.shown, result.window_end):
        wrong.append(f"revision {last.number} is {last.shown}, the result has {result.number}: {result.shown}")
    return wrong


def _batches(picture: Picture, should: Expected, cell: Cell, revisions: list[Revision]) -> list[str]:
    """Batches that do not exist, and a last revision of a closed window that does not name those it sums."""
    wrong = []
    for revision in revisions:
        unknown = (revision.batches or frozenset()) - picture.ledger.batches.keys()
        if unknown:
            wrong.append(f"revision {revision.number} names batches {sorted(unknown)}, which do not exist")
    last = revisions[-1] if revisions else None
    if last is not None and last.numbers is not None and should.is_closed(cell):
        named, summed = last.batches or frozenset(), should.batches.get(cell, frozenset())
        if named != summed:
            wrong.append(f"revision {last.number} names batches {sorted(named)}, the input is in {sorted(summed)}")
    return wrong
