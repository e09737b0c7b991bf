"""The tables of each window output against the input: contributions, results, history."""

from itertools import pairwise

from recount.definition import Window
from recount.expected import Expected, expected, still_open
from recount.picture import Picture
from recount.report import Finding
from recount.tables import Revision, WindowTables
from recount.totals import Cell, Partial, Partials, numbers, over_batches, show


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    findings = []
    for output, tables in enumerate(picture.ledger.tables):
        should = expected(picture, output)
        findings += [
            _contributions(picture, output, should, tables),
            _results(picture, should, tables),
            _sums(should, tables),
            _history(picture, should, tables),
        ]
    return findings


def _contributions(picture: Picture, output: int, should: Expected, tables: WindowTables) -> Finding:
    """Each batch contributes what its messages give, in open windows too."""
    counted, window, reads = picture.counted.per_batch[output], should.window, picture.scope.reads
    found = {at: partials for at, partials in tables.contributions.items() if reads(at[0])}
    older = {batch_id for batch_id, batch in picture.ledger.batches.items() if batch.is_older}
    wrong = [
        f"batch {at[0]}, {at[1]}: {show(window, found.get(at))}, the input gives {show(window, counted.get(at))}"
        for at in sorted(found.keys() | counted.keys(), key=str)
        if not _agree(found.get(at), counted.get(at), may_lack=at[0] in older)
    ]
    wrong += [
        f"batch {at[0]}, {at[1]}: window_end is {end}"
        for at, end in tables.ends.items()
        if reads(at[0]) and end != should.window_end(at[1])
    ]
    lacking = sum(any(count is None for _, count in partials) for partials in found.values())
    note = f"{lacking} with a measure added later, which is not judged" if lacking else ""
    return Finding(f"{window.name}_contribution = input", len(counted), tuple(wrong), note)


def _agree(found: Partials | None, counted: Partials | None, *, may_lack: bool) -> bool:
    """Whether all partials are the same, or were not computed where that may be."""
    if found is None or counted is None:
        return found is counted
    return all(_same(left, right, may_lack) for left, right in zip(found, counted, strict=True))


def _same(found: Partial, counted: Partial, may_lack: bool) -> bool:
    """Over no value at all, a sum may be null or 0."""
    if found[1] is None:
        return may_lack
    return found == counted or (found[1] == counted[1] == 0 and not found[0])


def _results(picture: Picture, should: Expected, tables: WindowTables) -> Finding:
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
    return Finding(f"{should.window.name} = input", closed, tuple(wrong), should.note)


def _sums(should: Expected, tables: WindowTables) -> Finding:
    """Results of closed windows are what the contributions make that are stored beside them."""
    window = should.window
    sums = {
        cell: numbers(window.measures, partials)
        for cell, partials in over_batches(window, tables.contributions).items()
        if should.scope.has(cell.window_start)
    }
    cells = [cell for cell in sums.keys() | tables.results.keys() if should.is_closed(cell)]
    wrong = []
    for cell in sorted(cells, key=str):
        row, total = tables.results.get(cell), sums.get(cell)
        if row is None or total is None or row.numbers != total:
            wrong.append(f"{cell}: {_shown(window, row)}, contributions give {show(window, total)}")
    return Finding(f"{window.name} = its contributions", len(cells), tuple(wrong))


def _shown(window: Window, row: Revision | None) -> str:
    return show(window, row.numbers if row else None)


def _history(picture: Picture, should: Expected, tables: WindowTables) -> Finding:
    """Revisions 1, 2, 3, …, each a change, the last one the result, with the batches it sums."""
    wrong = []
    for cell in sorted(tables.history.keys() | tables.results.keys(), key=str):
        revisions = tables.history.get(cell, [])
        first = revisions[0].number if picture.ledger.is_pruned and revisions else 1
        wrong += [f"{cell}: {text}" for text in sequence(revisions, any(r.is_adopted for r in revisions), first)]
        wrong += [f"{cell}: {text}" for text in _last(should.window, revisions, tables.results.get(cell))]
        wrong += [f"{cell}: {text}" for text in _batches(picture, should, cell, revisions)]
    return Finding(f"{should.window.name}_history", sum(len(r) for r in tables.history.values()), tuple(wrong))


def sequence(revisions: list[Revision], holes_allowed: bool = False, first: int = 1) -> list[str]:
    """What is wrong with the order of a key's revisions: gaps, repeats, no change, final and then not.

    Args:
        revisions: in the order in which they were published.
        holes_allowed: some may have been lost.
        first: the number of the first one that is kept.
    """
    numbers = [revision.number for revision in revisions]
    wrong = []
    if numbers != list(range(first, first + len(numbers))) and not holes_allowed:
        wrong.append(f"revisions are {', '.join(map(str, numbers))}")
    for left, right in pairwise(revisions):
        if right.number <= left.number and holes_allowed:
            wrong.append(f"revision {right.number} follows {left.number}")
        if left.shown == right.shown and right.number == left.number + 1:
            wrong.append(f"revision {right.number} repeats {left.number}")
        if left.is_final and not right.is_final and right.numbers is not None and left.numbers is not None:
            wrong.append(f"revision {right.number} is not final, {left.number} was")
    return wrong


def _last(window: Window, revisions: list[Revision], result: Revision | None) -> list[str]:
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
        shown, has = (show_revision(window, revision) for revision in (last, result))
        wrong.append(f"revision {last.number} is {shown}, the result has {result.number}: {has}")
    return wrong


def show_revision(window: Window, revision: Revision) -> str:
    """What a revision says, for people."""
    if revision.numbers is None:
        return "retracted"
    return f"{show(window, revision.numbers)}, {'final' if revision.is_final else 'not final'}"


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
