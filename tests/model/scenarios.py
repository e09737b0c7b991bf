"""Small worlds in which the protocol is tried, and larger ones for random walks."""

from functools import partial

from model.state import Process, Scenario

LAST = 3  # windows 0, 1 and 2 exist; a clean run closes them all

live = partial(Process, "live", "plan")  # consume and publish
consume = partial(Process, "consume", "plan")
interval = partial(Process, "interval", "plan")
redo = partial(Process, "redo", "redo")
combine = partial(Process, "merge", "plan")  # consume and merge; sends nothing
merge = partial(Process, "merge", "lock")
publish = partial(Process, "publish", "lock")

SCENARIOS = {
    "overlap": Scenario(("00",), (2,), (live(), live()), records=1, rows=False),
    "kafka": Scenario(("00",), (2,), (publish(), publish()), before=(consume(), merge()), lot=1, faults=2),
    "publishers": Scenario(("00",), (1,), (publish(), live(), publish()), before=(consume(), merge())),
    "zombie publisher": Scenario(("000",), (1,), (publish(), live(), combine()), before=(live(),), rows=False),
    "merge": Scenario(("00",), (1,), (publish(), consume(), publish()), before=(consume(until=0),), rows=False),
    "late": Scenario(("010",), (1,), (live(), live(until=2)), rows=False, early=True),
    "partitions": Scenario(("0", "0x"), (1, 1), (consume(shards=2), consume(shard=1, shards=2), publish()), rows=False),
    "numbers": Scenario(("0", "0"), (1, 1), (consume(shards=2), consume(shard=1, shards=2), publish(), publish())),
    "layouts": Scenario(("0", "00"), (1, 2), (consume(), consume(shard=1, shards=2), publish()), rows=False),
    "gap": Scenario(("00x",), (3,), (interval(span=((1, 2),)), live(), publish())),
    "gap, around": Scenario(("000",), (3,), (live(),), before=(interval(span=((1, 2),)),)),
    "behind": Scenario(("001",), (2,), (live(batches=1), live(until=2)), records=1),
    "behind, redo": Scenario(
        ("01",),
        (2,),
        (redo(definition=2), live(until=0, definition=2)),
        ("11",),
        before=(live(until=0, batches=1),),
        records=1,
        rows=False,
    ),
    "foreign": Scenario(("000",), (1,), (combine(), combine(until=2)), foreign=((0, 1),)),
    "foreign, two": Scenario(
        ("00", "001"), (1, 2), (consume(shards=2), combine(shard=1, shards=2)), foreign=((0, 0), (1, 1)), rows=False
    ),
    "latest": Scenario(("0011",), (1,), (combine(until=0), combine(until=2)), latest=True),
    "latest, early event": Scenario(
        ("121",), (1,), (combine(until=0), live(until=3)), latest=True, early_events=((0, 0),)
    ),
    "latest, behind": Scenario(
        ("1000",),
        (1,),
        (live(until=0, batches=1), combine()),
        before=(consume(until=0),),
        latest=True,
        records=1,
        rows=False,
    ),
    "history": Scenario(
        ("001",),
        (2,),
        (interval(span=((0, 2),)), interval(span=((0, 2),)), combine(until=2)),
        before=(consume(until=0),),
        latest=True,
        records=1,
    ),
    "history, gap": Scenario(
        ("0010",), (2,), (interval(span=((0, 1),)), live(until=2)), before=(consume(until=0),), latest=True
    ),
    "history, two": Scenario(
        ("01", "001"),
        (1, 2),
        (
            interval(shards=2, span=((0, 1), (0, 2))),
            interval(shard=1, shards=2, span=((0, 1), (0, 2))),
            live(until=2),
        ),
        before=(consume(until=0),),
        latest=True,
        rows=False,
    ),
    "history, parts": Scenario(
        ("012",),
        (2,),
        (interval(span=((0, 1),)), interval(span=((1, 2),), since=1), combine(until=3)),
        before=(consume(until=0),),
        latest=True,
        rows=False,
    ),
    "history, hole": Scenario(
        ("0112",),
        (3,),
        (
            interval(span=((0, 1),)),
            interval(span=((2, 3),), since=2),
            combine(until=3),
            interval(span=((1, 2),), since=1),
        ),
        before=(consume(until=0),),
        latest=True,
        rows=False,
    ),
    "redo": Scenario(("0x",), (2,), (redo(), publish()), before=(live(),)),
    "redefine": Scenario(("00",), (2,), (redo(definition=2), publish(), publish()), ("1x",), (consume(),), rows=False),
    "retract": Scenario(
        ("0",), (1,), (redo(definition=2), publish(), redo(definition=3)), ("x",), (live(),), rows=False
    ),
    "redo twice": Scenario(("0", "0"), (1, 1), (redo(shards=2), redo(shard=1, shards=2)), before=(live(),), rows=False),
    "definitions": Scenario(
        ("0", "0"),
        (1, 1),
        (redo(definition=2), consume(shard=1, shards=2)),
        ("1", "1"),
        (consume(shards=2),),
        rows=False,
    ),
    "cursor": Scenario(("00",), (1,), (live(), publish()), before=(live(),), events=("deleted", "reset")),
    "restore": Scenario(("00",), (1,), (live(), live()), records=1, events=("restored",), rows=False),
    "restore, publisher": Scenario(
        ("000",), (1,), (publish(), live()), before=(live(),), events=("restored",), rows=False
    ),
    "restore, no cursor": Scenario(("00",), (1,), (live(),), events=("restored", "deleted"), outside=2, rows=False),
    "other ledger": Scenario(("00",), (2,), (live(),), before=(live(),), events=("other ledger", "other cluster")),
    "other cluster": Scenario(("0",), (1,), (live(),), before=(consume(), merge()), events=("other cluster",)),
}
WALK = Scenario(
    ("01x0", "10"),
    (2, 1),
    (
        live(),
        interval(shard=1, shards=2, span=((1, 3), (0, 2))),
        live(until=2),
        redo(definition=2),
        consume(shard=1, shards=2, until=2),
        publish(),
        live(until=3, definition=2),
    ),
    ("1xx0", "00"),
    faults=3,
    foreign=((0, 2), (1, 1)),
)
WALKS = [
    WALK._replace(events=("deleted", "reset", "restored", "other ledger"), outside=2),
    WALK,
    WALK._replace(
        logs=("00112", "0112"),
        redefined=("1x112", "0x12"),
        latest=True,
        records=1,
        starts=(
            consume(until=0),
            live(until=1, batches=1),
            interval(shards=2, span=((0, 2), (0, 1))),
            interval(shard=1, shards=2, span=((0, 2), (0, 1))),
            *WALK.starts[2:],
        ),
        foreign=((0, 3),),
    ),
    WALK._replace(foreign=(), early=True),
]
