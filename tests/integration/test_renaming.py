"""Renaming: the pipeline goes on under its new name, whatever kills the rename, and no message is sent twice."""

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, TopicPartition
from confluent_kafka.admin import AdminClient

from child import Task
from fix_child import Children, check
from fix_pipeline import Message, World, sale
from microbatch import Count, PostgresTable, Stream, Sum, TumblingWindow
from microbatch.consume import consume
from microbatch.crash import CrashPoint
from microbatch.errors import (
    CursorUnexplainedError,
    DefinitionChangedError,
    OldDefinitionError,
    RenameRefusedError,
    SinkOwnedError,
)
from microbatch.publish import publish
from microbatch.renaming import rename
from outside import dead_letters, published, sink, with_output


def renamed(world: World, name: str = "purchases") -> World:
    """The world after its file was changed."""
    return world.replace(name=name)


def do_rename(world: World, old: str = "sales", new: str = "purchases") -> World:
    after = renamed(world, new)
    rename(old, after.pipeline, after.connections)
    return after


def names(world: World) -> list[tuple[str, list[str], str]]:
    return world.rows("select name, former_names, definition ->> 'name' from microbatch.pipeline order by pipeline_id")


def groups(world: World) -> set[str]:
    """The groups of this deployment that Kafka knows."""
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    found = admin.list_consumer_groups(request_timeout=60, states={ConsumerGroupState.EMPTY}).result(60)
    prefix = f"microbatch.{world.connections.deployment}."
    return {group.group_id.removeprefix(prefix) for group in found.valid if group.group_id.startswith(prefix)}


def test_runs_go_on_under_the_new_name_and_nothing_is_sent_twice(world: World) -> None:
    world.send(sale("ada", 3), b"junk")
    world.run(0)

    after = do_rename(world)
    after.send(sale("ada", 4), Message(b"junk", partition=1))
    after.run(1)

    assert names(after) == [("purchases", ["sales"], "purchases")]
    assert after.results() == [(0, "ada", 7, 2, True, 2)]
    assert [(value["amount_usd"], value["revision"]) for value in published(after)] == [(3, 1), (7, 2)]
    assert [letter.header("microbatch.pipeline") for letter in dead_letters(after)] == ["sales", "purchases"]
    assert groups(after) == {"purchases"}
    check(after)


def test_renaming_again_is_harmless_and_back_is_possible(world: World) -> None:
    world.send(sale("ada", 3))
    world.run(0)

    after = do_rename(world)
    do_rename(world)
    after.send(sale("ada", 4))
    after.run(1)
    back = do_rename(after, "purchases", "sales")
    back.send(sale("ada", 5))
    back.run(2)

    assert names(back) == [("sales", ["purchases"], "sales")]
    assert [(value["amount_usd"], value["revision"]) for value in published(back)] == [(3, 1), (7, 2), (12, 3)]
    check(back)


def test_tables_that_are_named_after_the_pipeline_are_renamed_too(world: World) -> None:
    stream = Stream(unique=["seller_id"])
    world = world.replace(outputs=[stream, *world.pipeline.outputs])
    world.send(sale("ada", 3), sale("bob", 4), sale("ada", 5))
    world.run(0)

    after = do_rename(world)
    after.send(sale("ada", 6))
    after.run(1)

    tables = "select table_name from information_schema.tables where table_schema = 'microbatch_topic'"
    assert world.rows(tables) == [("purchases_key",)]
    assert [row[:5] for row in after.results()] == [(0, "ada", 3, 1, True), (0, "bob", 4, 1, True)]
    assert world.rows("select obj_description('aggregated_sales'::regclass)") == [("purchases",)]
    check(after)


def test_what_waits_in_the_outbox_is_sent_first(world: World, children: Children) -> None:
    world.send(sale("ada", 3), b"junk")
    run = world.run_of(0, "killed")
    assert children.start(world, run, crash="publish.after_merge").died_by_kill()

    after = do_rename(world)

    assert [value["amount_usd"] for value in published(after)] == [3]
    assert world.rows("select cursor = last_publication, intent from microbatch.publisher") == [(True, None)]
    after.run(1)
    check(after)


def test_what_was_sent_and_not_marked_is_not_sent_again(world: World, children: Children) -> None:
    world.send(sale("ada", 3), b"junk")
    assert children.start(world, world.run_of(0), crash="publish.after_kafka_commit").died_by_kill()

    after = do_rename(world)
    after.run(1)

    assert (len(published(after)), len(dead_letters(after))) == (1, 1)
    check(after)


def test_what_waits_for_its_number_is_sent_under_the_new_name(world: World) -> None:
    world.send(sale("ada", 3), b"junk")
    consume(world.pipeline, 0, world.run_of(0), world.connections)

    after = do_rename(world)
    after.run(1)

    assert [letter.header("microbatch.pipeline") for letter in dead_letters(after)] == ["sales"]
    check(after)


@pytest.mark.parametrize("point", ["rename.after_sent", "rename.after_cursor", "rename.after_renamed"])
@pytest.mark.parametrize("goes_on_as", ["sales", "purchases"])
def test_a_rename_that_is_killed_is_finished_by_the_next(
    world: World, children: Children, point: CrashPoint, goes_on_as: str
) -> None:
    world.send(sale("ada", 3), b"junk")
    world.run(0)
    after = renamed(world)
    assert children.start(after, after.run_of(1), task="rename", crash=point).died_by_kill()
    world.send(sale("ada", 4))
    if goes_on_as == "sales" and point != "rename.after_renamed":
        world.run(1)

    do_rename(world)
    after.send(sale("ada", 5))
    after.run(2)

    assert names(after) == [("purchases", ["sales"], "purchases")]
    assert after.results()[0][:4] == (0, "ada", 12, 3)
    assert groups(after) == {"purchases"}
    check(after)


@pytest.mark.parametrize("sent_since", [False, True])
def test_a_cursor_that_is_lost_after_a_rename_is_explained(world: World, sent_since: bool) -> None:
    world.send(sale("ada", 3), b"junk")
    world.run(0)
    after = do_rename(world)
    if sent_since:
        after.send(sale("ada", 4))
        after.run(1)
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    for future in admin.delete_consumer_groups([f"microbatch.{world.connections.deployment}.purchases"]).values():
        future.result(60)

    after.send(sale("ada", 5))
    after.run(2)

    check(after)


# -- what is refused ---------------------------------------------------------------------------------------


def test_a_name_that_is_not_registered_or_is_taken_is_refused(world: World) -> None:
    world.run(0)
    other = with_output(world, to=[PostgresTable("other"), sink(world, "other")]).replace(name="other")
    other.run(0)

    with pytest.raises(RenameRefusedError, match="has no pipeline 'nobody'; nothing was changed"):
        do_rename(world, "nobody", "purchases")
    with pytest.raises(RenameRefusedError, match="there is a pipeline 'other' already"):
        do_rename(world, "sales", "other")
    do_rename(world)
    with pytest.raises(RenameRefusedError, match="pipeline 'purchases' had that name"):
        rename("other", other.replace(name="sales").pipeline, other.connections)

    assert [name for name, *_ in names(world)] == ["purchases", "other"]


def test_only_the_name_may_have_changed(world: World) -> None:
    world.run(0)
    window = TumblingWindow(
        "2 minutes", by=["seller_id"], measures={"amount_usd": Sum("amount_usd"), "sales": Count()},
        to=world.pipeline.outputs[0].to,
    )  # fmt: skip

    with pytest.raises(DefinitionChangedError, match="size_s: 60 -> 120"):
        rename("sales", world.replace(name="purchases", outputs=[window]).pipeline, world.connections)

    assert names(world) == [("sales", [], "sales")]


def test_a_group_with_a_cursor_that_is_not_ours_is_refused(world: World) -> None:
    """Another Postgres has a pipeline of the new name, under the same deployment."""
    world.send(sale("ada", 3))
    world.run(0)
    group = f"microbatch.{world.connections.deployment}.purchases"
    consumer = Consumer({"bootstrap.servers": world.connections.bootstrap, "group.id": group})
    cursor = '{"ledger":"8b0e5f50-0000-4000-8000-000000000000","publication":1}'
    place = TopicPartition(world.pipeline.source.name, 0, 0, metadata=cursor)
    consumer.commit(offsets=[place], asynchronous=False)
    consumer.close()

    with pytest.raises(CursorUnexplainedError, match="8b0e5f50"):
        do_rename(world)

    assert names(world) == [("sales", [], "sales")]
    world.run(1)
    check(world)


@pytest.mark.parametrize("task", ["consume", "publish"])
def test_a_task_of_the_old_name_may_not_write_any_more(world: World, children: Children, task: Task) -> None:
    world.send(sale("ada", 3))
    world.run(0)
    world.send(sale("ada", 4))
    zombie = children.start(world, world.run_of(1), task=task, crash="consume.after_register:stop")
    zombie.wait_until_stopped()

    after = do_rename(world)
    zombie.go_on()

    assert zombie.outcome().error == OldDefinitionError.__name__
    assert "the ledger has the name 'purchases'" in zombie.outcome().text
    with pytest.raises(SinkOwnedError, match=r"belongs to pipeline .*purchases"):
        publish(world.pipeline, world.run_of(1), world.connections)
    after.run(1)
    check(after)
