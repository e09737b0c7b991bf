"""`python -m recount PIPELINE`: exit status 0 if all agrees, 1 if not, 2 if it could not look."""

import argparse
import json
import os
import sys

import psycopg
from confluent_kafka import KafkaException

from recount.errors import RecountError
from recount.story import check
from recount.value_formats import Formats


def main() -> int:
    """Print the report; returns the exit status."""
    options = _parser().parse_args()
    try:
        report = check(
            options.pipeline,
            _kafka(options.bootstrap),
            options.dsn,
            deployment=options.deployment,
            settled=options.settled,
            compacted=options.compacted,
            patience_s=options.patience,
            formats=Formats(_registry()),
        )
    except (RecountError, KafkaException, psycopg.Error) as error:
        print(f"recount: could not look: {error}", file=sys.stderr)
        return 2
    print(report.render())
    return 0 if report.ok else 1


def _kafka(bootstrap: str) -> dict[str, str]:
    """The client's settings: KAFKA_SETTINGS, a JSON object, has what the address needs beside, such as TLS."""
    found = json.loads(os.environ.get("KAFKA_SETTINGS", "").strip() or "{}")
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in found.items()}
    return texts | {"bootstrap.servers": bootstrap}


def _registry() -> dict[str, object]:
    """The settings of the schema registry's client, if there is one: its address, and a JSON object of what more."""
    url = os.environ.get("SCHEMA_REGISTRY_URL", "").strip()
    more = json.loads(os.environ.get("SCHEMA_REGISTRY_SETTINGS", "").strip() or "{}")
    return more | {"url": url} if url else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recount", description="Compare a pipeline's input with all it stored and sent."
    )
    add = parser.add_argument
    add("pipeline")
    add("--settled", action="store_true", help="everything must be covered, and every window closed")
    add("--compacted", action="store_true", help="result topics may have lost earlier revisions to compaction")
    add("--patience", type=float, default=60.0, metavar="SECONDS", help="how long to wait for a quiet moment")
    add("--deployment", default=os.environ.get("MICROBATCH_DEPLOYMENT", "default"))
    _add_address(parser, "--bootstrap", "KAFKA_BOOTSTRAP_SERVERS")
    _add_address(parser, "--dsn", "POSTGRES_DSN")
    return parser


def _add_address(parser: argparse.ArgumentParser, option: str, variable: str) -> None:
    value = os.environ.get(variable)
    parser.add_argument(option, default=value, required=value is None, help=f"default: {variable}")


if __name__ == "__main__":
    sys.exit(main())
