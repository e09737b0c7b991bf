"""What the model of the exactly-once protocol is made of: its protections, and the state of a world. See README.md.

A number is modelled as the tuple of what it counts, (partition, offset, definition), so "twice" and "never" show.
"""

from __future__ import annotations

from typing import NamedTuple

PROTECTIONS = {  # what the protocol does; `--without NAME` takes one away
    # register, claim, store
    "register": "first_offset is registered in a transaction of its own (without: with the first batch)",
    "exclusion": "the exclusion constraint on offset ranges",
    "shard_lock": "the advisory lock of a shard",
    "definition_lock": "batches and merge share the definition's lock, a change of it takes it exclusively",
    "idle_timeout": "the server rolls back the transaction of a stopped consumer",
    "complement": "catching up plans all that is not covered (without: from the highest covered end)",
    "read_committed": "reading ends at the last stable offset and skips what was aborted (without: high watermark)",
    "segments_tx": "segments are in the batch's transaction (without: in the next one)",
    # what is final
    "caught_up": "caught_up_to is written when nothing below the looked-at end is uncovered (without: by every batch)",
    "high_watermark": "the looked-at end is the high watermark (without: the last stable offset)",
    "all_partitions": "closed_until is the least caught_up_to of all partitions (without: the run's interval end)",
    "complete_from": "nothing before complete_from is final",
    "ahead": "complete_from is later by max_future, for older messages may carry later event times",
    "joined": "intervals move complete_from down if nothing from their start to first_offset is uncovered",
    "notes": "an interval leaves a note, and whichever fills the last hole looks at all of them (without: at its own)",
    "all_joined": "complete_from is the latest of all partitions (without: the earliest)",
    "closed_partial": "what has closed before complete_from is published too, is_final false (without: not at all)",
    # redo
    "redo_row": "a redo first locks the batch's row (without: only its shard's lock, which a new shard count renames)",
    "replace": "a redo replaces contributions (without: adds)",
    "touch_old": "a redo touches the old windows too",
    "new_rejects": "a redo sends dead letters only for messages that were not rejected before",
    # merge
    "close_first": "merge reads caught_up_to before it takes touched rows (without: after the sums)",
    "touched_first": "merge takes the touched rows before it sums (without: after)",
    "merge_tx": "merge is one transaction (without: touched rows are gone at once)",
    "all_keys": "a window that closes: its keys are those of its contributions and its results (without: the former)",
    "behind": "a run that ends behind publishes touched open windows (without: waits until they close)",
    "only_changes": "merge publishes a result only if its numbers or is_final changed",
    "revisions_go_on": "a revision goes on after a retraction",
    "numbered_by_merge": "publications are numbered in merge (without: in consume, by a sequence)",
    "hold_back": "segments above a gap wait for it, from first_offset up",
    "hold_back_low": "segments below first_offset do not wait (without: they do)",
    "one_range": "a segment has the rows of one offset range (without: of one partition, whatever lies between)",
    "one_statement": "merge sees segments and gaps in one snapshot (without: the segments first)",
    # send
    "publish_lock": "merge and send hold the pipeline's publish lock",
    "session_timeout": "the server ends the session of a stopped publisher, and with it its lock",
    "one_session": "a publisher never opens a second Postgres session (without: it connects again and goes on)",
    "fencing": "one transactional.id per pipeline, init_transactions() first (without: one id per process)",
    "cluster_check": "settle compares the cluster id too (without: only consume, and publish runs after it failed)",
    "intent": "the lot is recorded before it is sent",
    "cursor": "settle reads the cursor (without: whatever is in the outbox is sent)",
    "ledger_uuid": "the cursor names the ledger",
    "atomic_offsets": "the cursor is committed inside the Kafka transaction (without: after it)",
    "stable": "committed() waits for pending offsets (read_committed)",
    "tail_check": "a missing cursor is explained by the newest message of the output topics (without: by no intent)",
    "renew_fenced": "offsets are renewed in a transaction of the fenced producer (without: a plain offset commit)",
}
Rules = frozenset[str]
Message = tuple[int, int]  # partition, offset
Range = tuple[int, int, int]  # partition, start, end
Total = tuple[tuple[int, int, int], ...]  # partition, offset, definition: what a number counts
Cursor = tuple[int, int]  # ledger, publication
RESET: Cursor = (-1, -1)
NOBODY = -1
NEVER = 9


class Row(NamedTuple):
    """A message of an output topic: a stream row or dead letter (partition, offset), or a result (window, revision)."""

    kind: str
    key: int
    number: int
    total: Total | None = None
    final: bool = False


class Segment(NamedTuple):
    """Rows of the outbox. Publication 0: a batch's segment that merge has not numbered yet."""

    publication: int
    rows: tuple[Row, ...]


class Sent(NamedTuple):
    at: Cursor  # in its headers
    row: Row


class Batch(NamedTuple):
    ranges: tuple[Range, ...]
    definition: int
    counted: tuple[tuple[int, tuple[int, int, int]], ...]  # contributions: window, what is counted
    rejected: tuple[Message, ...]
    attempts: tuple[int, ...]  # the definition of each attempt


class Result(NamedTuple):
    window: int
    revision: int = 0
    total: Total | None = None  # None: retracted
    final: bool = False


class Note(NamedTuple):
    """What an interval says of a partition: windows from this one on get nothing from below this offset."""

    partition: int
    reach: int
    start: int


class Ledger(NamedTuple):
    uuid: int
    caught_up: tuple[int, ...]  # per partition: windows below this one have been looked at
    looked: tuple[tuple[int, ...], ...]  # for the checker: per partition and such window, the high watermark then
    cursor: Cursor
    first: tuple[int, ...] = ()  # per partition; empty: not registered
    reach: tuple[int, ...] = ()  # per partition: the first window of which nothing is older than what was read
    notes: tuple[Note, ...] = ()  # of intervals that do not reach from their start to first_offset
    intent: Cursor | None = None
    definition: int = 1
    batches: tuple[Batch, ...] = ()
    touched: tuple[tuple[int, int, int], ...] = ()  # batch, attempt, window
    closed: int = 0
    complete: int = NEVER
    results: tuple[Result, ...] = ()
    outbox: tuple[Segment, ...] = ()
    publication: int = 0


class Producer(NamedTuple):
    """The coordinator's view of one transactional.id. `owner` holds the newest epoch, everybody else is fenced."""

    owner: int = NOBODY
    open: tuple[tuple[Sent, ...], Cursor] | None = None
    decided: bool = False  # the commit is in the transaction log, its markers are not written yet
    late: bool = False  # a commit request of this epoch is still on its way


class Process(NamedTuple):
    kind: str
    step: str
    shard: int = 0
    shards: int = 1
    definition: int = 1
    until: int = 1  # the end of its interval: it may close windows below
    batches: int = NEVER  # its budget
    span: tuple[tuple[int, int], ...] = ()  # of an interval: per partition the offsets of its start and end
    since: int = 0  # the window at which it starts
    high: tuple[int, ...] = ()  # the high watermarks when it looked
    ends: tuple[int, ...] = ()  # the looked-at ends: the same
    lock: str = ""
    session: bool = True  # false: Postgres has ended its session, its next statement there fails
    behind: bool = False
    first: tuple[int, ...] = ()  # only without register
    ranges: tuple[Range, ...] = ()  # inserted, if the step is "store"
    todo: tuple[int, ...] | None = None  # batches to redo
    number: int = 0  # of the publication, only without numbered_by_merge
    attempt: int = 0  # of the batch to redo, as the DELETE's snapshot saw it
    close: tuple[int, int] = (0, NEVER)  # closed_until and complete_from, as merge read them
    taken: tuple[tuple[int, int, int], ...] = ()
    sums: tuple[tuple[int, Total], ...] = ()
    asked: Cursor | None = None
    lot: tuple[Segment, ...] = ()


class World(NamedTuple):
    arrived: tuple[int, ...]  # high watermarks
    ledger: Ledger
    log: tuple[Sent, ...]  # the output topics, as a read_committed consumer sees them
    cursor: Cursor | None  # the metadata of the group's committed offset
    pending: Cursor | None  # the same of a committed transaction, not yet shown by the group's coordinator
    producers: tuple[Producer, ...]
    processes: tuple[Process | None, ...]
    foreign: str = ""  # another producer's transaction in the source: open, committed or aborted
    promised: tuple[int, ...] = ()  # for the checker: first offsets as the first run found them
    sequence: int = 0  # only without numbered_by_merge
    started: int = 0
    faults: int = 0
    outside: str = ""  # what has happened from outside
    cluster: int = 1
    backup: Ledger | None = None
    alarm: str = ""  # a process stopped with an error that needs a person
    broken: str = ""  # for the checker: something that may never happen has happened


class Scenario(NamedTuple):
    """Per partition a window for each message, `x` for a reject; `redefined` is the same under definition 2."""

    logs: tuple[str, ...]
    arrived: tuple[int, ...]
    starts: tuple[Process, ...]
    redefined: tuple[str, ...] = ()
    before: tuple[Process, ...] = ()  # have run, one after the other
    latest: bool = False  # begins with the messages that arrive after it was registered
    early_events: tuple[Message, ...] = ()  # their event time is a window later than Kafka's timestamp
    foreign: tuple[Message, ...] = ()  # are of another producer's open transaction
    records: int = 2  # per batch and partition
    lot: int = 2  # publications in a Kafka transaction
    faults: int = 0
    early: bool = False
    events: tuple[str, ...] = ()
    outside: int = 1
    rows: bool = True  # has a stream
