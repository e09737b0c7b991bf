"""Registering: what a pipeline finds, makes, owns, and is refused."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from fix_pipeline import Message, World, sale
from free_ports import random_free
from local.ports import HOST
from microbatch import Count, KafkaTopic, PostgresTable, Sum
from microbatch.consume import consume
from microbatch.errors import (
    DefinitionChangedError,
    KafkaUnreachableError,
    OtherClusterError,
    PostgresUnreachableError,
    SinkOwnedError,
    TableExistsError,
    TopicMissingError,
    TopicRecreatedError,
)
from microbatch.migrations import migrate
from microbatch.postgres import connect
from microbatch.publish import publish
from microbatch.registration import Registration
from microbatch.registration import register as register_pipeline
from microbatch.sql import migrations, queries
from outside import sink, with_output

MakeWorld = Callable[..., World]
BESIDE_A_TABLE = ("as_of", "batch", "contribution", "history", "late", "mixed")


def register(world: World) -> Registration:
    with connect(world.connections.postgres, "test") as connection:
        return register_pipeline(world.pipeline, world.connections, connection)


def execute(world: World, statement: str) -> None:
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        connection.execute(statement.encode())


def other(world: World, **changes: object) -> World:
    """A second pipeline over the same source, with sinks of its own."""
    mine = with_output(world, to=[PostgresTable("other"), sink(world, "other")])
    return mine.replace(name="other", **changes)


# -- what it makes -----------------------------------------------------------------------------------------


def test_the_tables_have_the_declared_columns_and_types(world: World) -> None:
    register(world)

    columns = "select column_name, data_type, is_nullable from information_schema.columns where table_name = %s"
    assert world.rows(f"{columns} order by ordinal_position", "aggregated_sales") == [
        ("window_start", "timestamp with time zone", "NO"),
        ("window_end", "timestamp with time zone", "NO"),
        ("seller_id", "text", "NO"),
        ("amount_usd", "numeric", "YES"),
        ("sales", "bigint", "YES"),
        ("is_final", "boolean", "NO"),
        ("revision", "integer", "NO"),
        ("updated_at", "timestamp with time zone", "NO"),
    ]


def test_every_table_and_column_has_a_comment(world: World) -> None:
    register(world)

    uncommented = world.rows(
        "select c.relname, a.attname from pg_class as c join pg_attribute as a on a.attrelid = c.oid"
        " left join pg_description as d on d.objoid = c.oid and d.objsubid = a.attnum"
        " and d.classoid = 'pg_class'::regclass"
        " where c.relnamespace = 'public'::regnamespace and c.relname like 'aggregated_sales%%'"
        " and c.relkind = 'r' and a.attnum > 0 and coalesce(d.description, '') = ''"
    )
    tables = world.rows(
        "select relname, obj_description(oid, 'pg_class') <> '' from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"
    )

    assert uncommented == []
    assert tables == [(f"aggregated_sales{suffix}", True) for suffix in ("", "_contribution", "_history")]


def test_comments_say_what_a_column_is(world: World) -> None:
    register(world)

    rows = world.rows(
        "select attname, col_description(attrelid, attnum) from pg_attribute"
        " where attrelid = 'aggregated_sales'::regclass and attname in ('amount_usd', 'sales', 'seller_id') order by 1"
    )

    assert rows == [
        ("amount_usd", "sum of amount_usd"),
        ("sales", "number of events"),
        ("seller_id", "column seller_id of the event"),
    ]


def test_a_result_is_found_by_window_and_key(world: World) -> None:
    register(world)

    rows = world.rows(
        "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint"
        " where contype = 'p' and connamespace = 'public'::regnamespace order by 1"
    )

    assert rows == [
        ("aggregated_sales", "PRIMARY KEY (window_start, seller_id)"),
        ("aggregated_sales_contribution", "PRIMARY KEY (batch_id, window_start, seller_id)"),
        ("aggregated_sales_history", "PRIMARY KEY (window_start, seller_id, revision)"),
    ]


def test_sinks_are_owned_and_their_partitions_counted_once(world: World) -> None:
    registration = register(world)
    grow(world, world.pipeline.dead_letter_topic.name, 5)

    results, dead = world.pipeline.outputs[0].topic, world.pipeline.dead_letter_topic
    assert results is not None
    assert registration.sink_partitions == {results.name: 2, dead.name: 2} == register(world).sink_partitions
    assert world.rows("select kind, name from microbatch.sink order by 1, 2") == [
        ("dead letters", dead.name),
        ("messages", results.name),
        ("table", "public.aggregated_sales"),
        *(("table", f"public.aggregated_sales_{name}") for name in BESIDE_A_TABLE),
    ]


def test_registering_again_finds_the_same(world: World) -> None:
    assert register(world) == register(world)
    assert world.rows("select count(*) from microbatch.pipeline") == [(1,)]


def test_of_many_that_register_at_once_all_find_the_same(world: World) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(register, [world] * 6))

    assert len({registration.pipeline_id for registration in found}) == 1
    assert world.rows("select count(*) from microbatch.pipeline") == [(1,)]


def test_deployments_have_pipelines_and_ledgers_of_their_own(make_world: MakeWorld) -> None:
    one = make_world()
    two = World(other(one).pipeline, msgspec.structs.replace(one.connections, deployment="two"))
    two = two.replace(name=one.pipeline.name)

    first, second = register(one), register(two)

    assert first.pipeline_id != second.pipeline_id
    assert first.ledger != second.ledger


# -- who owns what -----------------------------------------------------------------------------------------


def test_a_table_of_another_pipeline_is_refused_with_its_owner(world: World) -> None:
    register(world)
    second = with_output(other(world), to=[PostgresTable("aggregated_sales"), sink(world, "other")])

    owner = (
        rf"belongs to pipeline '{world.connections.deployment}\.sales'; choose another name\. .* `microbatch rename OLD"
    )
    with pytest.raises(SinkOwnedError, match=rf"pipeline 'other': the table 'public\.aggregated_sales' {owner}"):
        register(second)

    assert world.rows("select name from microbatch.pipeline") == [("sales",)]


def test_a_result_topic_of_another_pipeline_is_refused_with_its_owner(world: World) -> None:
    register(world)
    topic = world.pipeline.outputs[0].topic
    assert topic is not None

    with pytest.raises(SinkOwnedError, match=rf"the topic '{topic.name}' belongs to pipeline '.*\.sales'"):
        register(with_output(other(world), to=[PostgresTable("other"), topic]))


def test_a_result_topic_of_another_pipeline_cannot_take_dead_letters(world: World) -> None:
    register(world)

    with pytest.raises(SinkOwnedError, match="belongs to pipeline"):
        register(other(world, dead_letters=world.pipeline.outputs[0].topic))


def test_a_topic_of_dead_letters_cannot_take_results(world: World) -> None:
    register(world)

    second = other(world, dead_letters=sink(world, "other-dlq"))
    with pytest.raises(SinkOwnedError, match="belongs to pipeline"):
        register(with_output(second, to=[PostgresTable("other"), world.pipeline.dead_letter_topic]))


def test_a_topic_of_dead_letters_may_be_shared(world: World) -> None:
    register(world)

    register(other(world, dead_letters=world.pipeline.dead_letter_topic))

    assert world.rows("select count(*) from microbatch.sink where kind = 'dead letters'") == [(2,)]


def test_the_state_of_an_output_without_a_table_has_a_schema_of_its_own(world: World) -> None:
    topic = sink(world, "results")
    both = [*world.pipeline.outputs, msgspec.structs.replace(world.pipeline.outputs[0], to=[topic])]

    register(world.replace(outputs=both))

    tables = (
        "select relname::text from pg_class where relnamespace = 'microbatch_topic'::regnamespace and relkind = 'r'"
    )
    assert world.rows(f"{tables} order by 1") == [(f"{topic.name}{s}",) for s in ("", "_contribution", "_history")]
    assert world.rows(
        "select name from microbatch.sink where kind = 'table' and name like 'microbatch_topic.%%' order by 1"
    ) == [(f"microbatch_topic.{topic.name}",), *((f"microbatch_topic.{topic.name}_{s}",) for s in BESIDE_A_TABLE)]


def test_a_table_in_another_schema_is_another_table(world: World) -> None:
    """The owner of a table is found by its schema and name."""
    register(world)
    topic = KafkaTopic("aggregated_sales", partitions=2)

    register(with_output(other(world), to=[topic]))

    owners = "select p.name, s.name from microbatch.sink as s join microbatch.pipeline as p using (pipeline_id)"
    assert world.rows(f"{owners} where s.name like '%%.aggregated_sales' order by 1") == [
        ("other", "microbatch_topic.aggregated_sales"),
        ("sales", "public.aggregated_sales"),
    ]


def test_the_sinks_of_a_ledger_from_before_keep_their_owners(empty: str) -> None:
    """The first version of the ledger knew result tables in schema public, and topics of results, and no others."""
    with connect(empty, "test") as connection:
        connection.execute("create schema microbatch")
        connection.execute(queries("ledger")["create_migration_table"])
        first = migrations()[0]
        connection.execute(first.text)
        facts = {"version": first.version, "name": first.name, "sha256": first.sha256}
        connection.execute(queries("ledger")["record_migration"], facts)
        connection.execute(
            "insert into microbatch.pipeline (deployment, name, cluster_id, source_topic, definition, definition_hash)"
            " values ('default', 'sales', 'c', 's', '{}', 'h')"
        )
        connection.execute(
            "insert into microbatch.sink (pipeline_id, kind, name, partitions)"
            " values (1, 'table', 't', null), (1, 'results', 'r', 2), (1, 'dead letters', 'd', 2)"
        )

        migrate(connection)

        found = connection.execute("select kind, name, partitions from microbatch.sink order by 1").fetchall()
    assert found == [("dead letters", "d", 2), ("messages", "r", 2), ("table", "public.t", None)]


@pytest.mark.parametrize("suffix", ["", "_contribution", "_history"])
def test_a_table_that_was_there_before_is_refused_and_left_alone(world: World, suffix: str) -> None:
    execute(world, f"create table aggregated_sales{suffix} as select 42 as answer")

    with pytest.raises(
        TableExistsError, match=rf"table 'public\.aggregated_sales{suffix}' exists and was not made by it"
    ):
        register(world)

    assert world.rows(f"select answer from aggregated_sales{suffix}") == [(42,)]
    assert world.rows("select count(*) from microbatch.pipeline") == [(0,)]


def test_a_view_of_that_name_is_refused_too(world: World) -> None:
    execute(world, "create view aggregated_sales as select 1")

    with pytest.raises(TableExistsError):
        register(world)


# -- a changed definition ----------------------------------------------------------------------------------


def test_a_changed_definition_is_refused_and_the_difference_is_named(world: World) -> None:
    register(world)
    changed = with_output(world, size="2 minutes", measures={"amount_usd": Sum("amount_usd"), "number": Count()})

    with pytest.raises(DefinitionChangedError) as caught:
        register(changed)

    text = str(caught.value)
    assert text.startswith("pipeline 'sales' is registered with another definition (")
    assert "size_s" in text
    assert text.endswith("Undo that, or give the changed pipeline another name and sinks of its own")


def test_a_change_of_a_single_value_is_named_with_both(world: World) -> None:
    register(world)

    with pytest.raises(
        DefinitionChangedError, match=r"what differs: dead_letters: \S+-sales-usd-dlq -> elsewhere\. Undo"
    ):
        register(world.replace(dead_letters=KafkaTopic("elsewhere")))


def test_what_only_says_how_work_is_cut_may_change(world: World) -> None:
    first = register(world)

    assert register(world.replace(max_records=7, shards=2, description="Other words.")) == first


# -- the source --------------------------------------------------------------------------------------------


def test_an_unknown_source_topic_is_named_and_nothing_is_made(world: World) -> None:
    unknown = world.replace(source=msgspec.structs.replace(world.pipeline.source, name="never-made"))

    with pytest.raises(
        TopicMissingError, match=r"its source 'never-made' does not exist on .*; correct the source, or create"
    ):
        register(unknown)

    assert world.rows("select count(*), to_regclass('aggregated_sales') from microbatch.pipeline") == [(0, None)]


def test_a_pipeline_begins_at_the_low_watermarks(world: World) -> None:
    world.send(sale(), sale(), sale())
    delete_records(world, before=2)

    register(world)

    rows = world.rows("select partition, first_offset, covered_until, caught_up_to from microbatch.partition_progress")
    assert sorted(rows) == [(0, 2, 2, None), (1, 0, 0, None)]


def test_partitions_that_are_added_begin_at_0_and_are_counted_whole(world: World) -> None:
    world.run(minute=0)
    grow(world, world.pipeline.source.name, 3)
    world.send(Message(sale("ada", 1), partition=2), Message(sale("ada", 2), partition=2))

    world.run(minute=1)

    assert world.rows("select first_offset from microbatch.partition_progress where partition = 2") == [(0,)]
    assert world.results() == [(0, "ada", 3, 2, True, 1)]


def grow(world: World, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(60)
    deadline = time.monotonic() + 120
    while len(admin.list_topics(topic, timeout=60).topics[topic].partitions) < partitions:
        assert time.monotonic() < deadline


def delete_records(world: World, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    for future in admin.delete_records([TopicPartition(world.pipeline.source.name, 0, before)]).values():
        future.result(60)


def test_a_source_that_was_created_anew_is_refused(world: World) -> None:
    register(world)
    execute(world, "update microbatch.partition_progress set topic_id = '6f1c6f2e-0000-4000-8000-000000000001'")

    with pytest.raises(TopicRecreatedError, match=r"its id is .*, the ledger has 6f1c6f2e-0000-4000-8000-000000000001"):
        register(world)


def test_another_cluster_is_refused(world: World) -> None:
    register(world)
    execute(world, "update microbatch.pipeline set cluster_id = 'AnotherCluster'")

    with pytest.raises(OtherClusterError, match=r"registered on Kafka cluster AnotherCluster, but cluster \S+ answers"):
        register(world)


# -- nobody answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["consume", "publish"])
def test_a_database_that_does_not_answer_is_one_line(world: World, task: str) -> None:
    port = random_free()
    dsn = f"host={HOST} port={port} user=microbatch password=secret dbname=warehouse"
    connections = msgspec.structs.replace(world.connections, postgres=dsn)
    started_s = time.monotonic()

    with pytest.raises(PostgresUnreachableError) as caught:
        run_task(task, World(world.pipeline, connections))

    text = str(caught.value)
    assert time.monotonic() - started_s < 60
    assert text.startswith(f"PostgreSQL at {HOST}:{port}/warehouse does not answer (connection")
    assert ("\n" in text, "secret" in text) == (False, False)


def test_a_login_that_is_refused_is_one_line_without_the_password(world: World) -> None:
    wrong = psycopg.conninfo.make_conninfo(world.connections.postgres, password="wr0ng")  # noqa: S106 - a wrong one
    connections = msgspec.structs.replace(world.connections, postgres=wrong)

    with pytest.raises(PostgresUnreachableError, match="password authentication failed") as caught:
        run_task("consume", World(world.pipeline, connections))

    assert ("\n" in str(caught.value), "wr0ng" in str(caught.value)) == (False, False)


def test_a_broker_that_does_not_answer_is_one_line(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    at = f"{HOST}:{random_free()}"
    connections = msgspec.structs.replace(world.connections, kafka={"bootstrap.servers": at})
    started_s = time.monotonic()

    with pytest.raises(KafkaUnreachableError) as caught:
        run_task("consume", World(world.pipeline, connections))

    text = str(caught.value)
    assert time.monotonic() - started_s < 60
    assert text.startswith(f"Kafka at {at} does not answer (")
    assert text.endswith("or correct bootstrap.servers and the security settings of the Kafka connection")
    assert "\n" not in text
    assert capfd.readouterr().err == ""


def run_task(task: str, world: World) -> None:
    run = world.run_of(0)
    if task == "consume":
        consume(world.pipeline, 0, run, world.connections)
    else:
        publish(world.pipeline, run, world.connections)
