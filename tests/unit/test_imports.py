"""What a process imports: pandas, which takes longer than all else together, only with a transform."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

DECLARED: Final = """
import sys
from microbatch import *
from microbatch import testing
import microbatch.consume, microbatch.publish

class Sale(Event):
    who: str
    amount: int
    at: EpochSeconds

def run(*outputs, **more):
    pipeline = Pipeline(name="p", source=KafkaTopic("s", Sale, event_time="at"), outputs=list(outputs), **more)
    return testing.run(pipeline, [{"who": "ada", "amount": 1, "at": 0}, {"who": "bob", "amount": 2, "at": 0}])

window = TumblingWindow("1 minute", by=["who"], measures={"sum": Sum("amount")}, to=[PostgresTable("sums")])
stream = Stream(columns={"who": "who", "at": '"at"'}, where="amount > 1", to=[KafkaTopic("rows")])
"""


def imports_pandas(folder: Path, more: str) -> bool:
    """Whether a process does that runs this beside the declarations."""
    script = folder / "script.py"
    script.write_text(f"{DECLARED}\n{more}\nprint('pandas' in sys.modules)")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


@pytest.mark.parametrize("outputs", ["window", "stream, window", "Pairs('amount', 3, to=[PostgresTable('pairs')])"])
def test_without_a_transform_pandas_is_not_imported(tmp_path: Path, outputs: str) -> None:
    assert not imports_pandas(tmp_path, f"assert not run({outputs}).rejects")


def test_with_a_transform_it_is(tmp_path: Path) -> None:
    assert imports_pandas(tmp_path, "run(window, transform=Transform(lambda frame: frame, Sale))")
