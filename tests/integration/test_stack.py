"""What the embedded stack promises to its users."""

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from fix_stack import Stack


def test_kafka_answers_and_makes_no_topic_by_accident(stack: Stack) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})

    assert len(admin.list_topics(timeout=60).brokers) == 1
    assert admin.list_topics("never-made", timeout=60).topics["never-made"].error is not None


def test_the_role_that_runs_pipelines_can_make_what_the_ledger_needs(stack: Stack) -> None:
    with psycopg.connect(stack.owner_dsn) as owner:
        owner.execute("create extension if not exists btree_gist")
        owner.execute("create table claim (r int8range, p int, exclude using gist (p with =, r with &&))")
        superuser = owner.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
        owner.rollback()

    assert superuser == (False,)


def test_tcp_without_a_password_is_refused(stack: Stack) -> None:
    for role in ("postgres", "microbatch", "reader", "airflow"):
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(f"postgresql://{role}@127.0.0.1:{stack.postgres_port}/postgres")
