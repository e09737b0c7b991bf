"""An independent check of what microbatch did, from the input to the results, with no difference allowed.

It shares no code with the engine and imports nothing of it: a fresh read_committed consumer, plain SQL, and
the rules in plain Python; only a stream's own SQL is asked of DuckDB, as it must be. Run it as
`python -m recount PIPELINE`, or call `check` from a test.
"""

from recount.errors import PipelineUnknownError, UncountableError
from recount.report import Finding, Report
from recount.story import check

__all__ = ["Finding", "PipelineUnknownError", "Report", "UncountableError", "check"]
