"""The tables of all outputs of a pipeline."""

from microbatch.outputs import Stream, TumblingWindow
from microbatch.pair_tables import PairTables
from microbatch.pipeline import Pipeline
from microbatch.stream_tables import StreamTables
from microbatch.tables import OutputTables
from microbatch.view import view
from microbatch.window_tables import WindowTables


def output_tables(pipeline: Pipeline) -> list[OutputTables]:
    """The tables of each output, in the order of the outputs."""
    seen = view(pipeline)
    return [
        WindowTables(pipeline, output, seen)
        if isinstance(output, TumblingWindow)
        else StreamTables(pipeline, output, seen)
        if isinstance(output, Stream)
        else PairTables(pipeline, output)
        for output in pipeline.outputs
    ]
