"""What the embedded stack promises to its users."""

import msgspec
import psutil
import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from fix_stack import Stack


def test_kafka_answers_and_makes_no_topic_by_accident(stack: Stack) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})

    assert len(admin.list_topics(timeout=10).brokers) == 1
    assert admin.list_topics("never-made", timeout=10).topics["never-made"].error is not None


def test_the_role_that_runs_pipelines_can_make_what_the_ledger_needs(stack: Stack) -> None:
    with psycopg.connect(stack.owner_dsn) as owner:
        owner.execute("create extension if not exists btree_gist")
        owner.execute("create table claim (r int8range, p int, exclude using gist (p with =, r with &&))")
        superuser = owner.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
        owner.rollback()

    assert superuser == (False,)


def test_the_reading_role_reads_a_table_made_later(stack: Stack) -> None:
    with psycopg.connect(stack.owner_dsn) as owner:
        owner.execute("create schema later")
        owner.execute("create table later.made as select 42 as answer")
        owner.commit()
        with psycopg.connect(stack.reader_dsn) as reader:
            assert reader.execute("select answer from later.made").fetchone() == (42,)
        owner.execute("drop schema later cascade")


@pytest.mark.parametrize(
    "statement",
    [
        "create table mine (a int)",
        "create temporary table mine (a int)",
        "select * from pg_authid",
        "create schema mine",
        "set role microbatch",
    ],
)
def test_the_reading_role_cannot(stack: Stack, statement: str) -> None:
    with psycopg.connect(stack.reader_dsn) as reader:
        reader.execute("set transaction read write")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(statement)


def test_tcp_without_a_password_is_refused(stack: Stack) -> None:
    for role in ("postgres", "microbatch", "reader", "airflow"):
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(f"postgresql://{role}@127.0.0.1:{stack.postgres_port}/postgres")


def test_the_state_folder_and_its_secrets_are_for_their_owner_only(stack: Stack) -> None:
    assert stack.home.stat().st_mode & 0o777 == 0o700
    assert (stack.home / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_no_secret_is_in_the_process_list_or_in_a_log(stack: Stack) -> None:
    secrets = msgspec.structs.astuple(stack.credentials)
    listed = "\n".join(" ".join(found.info["cmdline"] or []) for found in psutil.process_iter(["cmdline"]))
    logs = "\n".join(log.read_text(errors="replace") for log in (stack.home / "log").glob("*.log*"))

    assert "kafka.Kafka" in listed
    assert "ready to accept connections" in logs
    assert not [secret for secret in secrets if secret in listed or secret in logs]


def test_everything_listens_on_the_loopback_address_only(stack: Stack) -> None:
    pids = {member.pid for member in (psutil.Process(stack.pid(name)) for name in ("kafka", "postgres"))}
    listening = {
        str(found.laddr[0])
        for found in psutil.net_connections("tcp")
        if found.laddr and found.pid in pids and found.status == psutil.CONN_LISTEN
    }

    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert listening
