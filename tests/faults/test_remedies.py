"""Commands that errors name and that need no decision: they end what stops a pipeline."""

import subprocess
import sys
from pathlib import Path

import pytest

from fix_child import check
from fix_cli import Command, advised
from fix_others import delete_topic
from fix_pipeline import World, sale
from microbatch.errors import SinkOwnedError, TopicMissingError

DAG_FILE = """
import msgspec
from fix_pipeline import sales_pipeline

turnover = msgspec.structs.replace(sales_pipeline({prefix!r}, 2), name="turnover")
"""


def test_a_source_that_does_not_exist_is_created_by_the_command_that_the_error_names(
    world: World, command: Command
) -> None:
    delete_topic(world, world.pipeline.source.name)
    with pytest.raises(TopicMissingError) as error:
        world.run(0)
    command(world, "--help")  # sets where Kafka is

    microbatch = str(Path(sys.executable).with_name("microbatch"))
    subprocess.run([microbatch, *advised(error.value), "--partitions", "2"], check=True, capture_output=True)

    world.send(sale("ada", 3))
    world.run(0)
    assert world.results() == [(0, "ada", 3, 1, True, 1)]
    check(world)


def test_a_pipeline_whose_name_was_changed_goes_on_after_the_command_that_the_error_names(
    world: World, command: Command, tmp_path: Path
) -> None:
    world.send(sale("ada", 3))
    world.run(0)
    renamed = world.replace(name="turnover")
    (tmp_path / "turnover.py").write_text(DAG_FILE.format(prefix=world.pipeline.source.name.removesuffix("-sales-usd")))
    with pytest.raises(SinkOwnedError) as error:
        renamed.run(0)

    words = ["sales" if word == "OLD" else word for word in advised(error.value)]
    shown = command(world, *words, "--dags", str(tmp_path))

    assert shown.exit_code == 0, shown.output
    renamed.send(sale("ada", 4))
    renamed.run(1)
    assert renamed.results() == [(0, "ada", 7, 2, True, 2)]
    check(renamed)
