"""An independent check of what microbatch did, from the input to the results, with no difference allowed.

It shares no code with the engine and imports nothing of it: a fresh read_committed consumer, plain SQL, and
the rules in plain Python; only a stream's own SQL is asked of DuckDB, as it must be. Run it as
`python -m recount PIPELINE`, or call `check` from a test; `microbatch audit` is `audit`.
"""

from recount.errors import PipelineUnknownError, RecountError, UncountableError
from recount.ledger import Decision
from recount.place import Watch
from recount.report import Finding, Part, Report
from recount.story import audit, check
from recount.times import Interval
from recount.value_formats import Formats

__all__ = [
    "Decision",
    "Finding",
    "Formats",
    "Interval",
    "Part",
    "PipelineUnknownError",
    "RecountError",
    "Report",
    "UncountableError",
    "Watch",
    "audit",
    "check",
]
