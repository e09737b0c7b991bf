"""Spans and metrics of runs on real Kafka and PostgreSQL, in memory and as Airflow's own settings send them."""

import gzip
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec
import pytest
from airflow.sdk import DAG
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fix_airflow import RunDag, states
from fix_dags import rows, sell
from microbatch import airflow_traces

AN_HOUR_AGO: Final = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
SUCCESS: Final = {"consume_0": "success", "publish": "success"}
STEPS: Final = ["microbatch.claim", "microbatch.read", "microbatch.store"]
PUBLISHED: Final = ["microbatch.lock", "microbatch.merge", "microbatch.send"]


def under(spans: list[ReadableSpan], parent: ReadableSpan) -> list[ReadableSpan]:
    """The children of a span, in the order of their beginnings."""
    found = [span for span in spans if span.parent and parent.context and span.parent.span_id == parent.context.span_id]
    return sorted(found, key=lambda span: span.start_time or 0)


def names(spans: list[ReadableSpan]) -> list[str]:
    return [span.name for span in spans]


def test_a_run_has_a_span_for_each_batch_and_step_beneath_that_of_its_task(
    dags: dict[str, DAG], topics: str, run_dag: RunDag, airflow_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO), ("bob", 5, AN_HOUR_AGO))
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr(airflow_traces, "_tracer", tracer)

    with tracer.start_as_current_span("task"):
        run = run_dag(dags["sales"])

    assert states(run) == SUCCESS
    spans = list(memory.get_finished_spans())
    (task,) = [span for span in spans if span.name == "task"]
    batch, *published = under(spans, task)
    assert (batch.name, names(published)) == ("microbatch.batch", PUBLISHED)
    assert published[0].attributes == {
        "microbatch.pipeline": "sales",
        "microbatch.revisions": 2,
        "microbatch.corrections": 0,
        "microbatch.sent": 2,
    }
    steps = under(spans, batch)
    assert names(steps) == STEPS
    assert (steps[0].start_time, steps[-1].end_time) == (batch.start_time, batch.end_time)
    # Nothing between two steps, but what is lost by rounding to microseconds.
    for before, after in itertools.pairwise(steps):
        assert abs((after.start_time or 0) - (before.end_time or 0)) <= 1000

    ((batch_id, messages, ranges, seconds),) = rows(
        airflow_environment, "select batch_id, messages, ranges, seconds from microbatch.batch_history"
    )
    told: dict[str, Any] = dict(batch.attributes or {})
    assert (told["microbatch.batch_id"], told["microbatch.messages"]) == (batch_id, messages)
    assert ", ".join(told["microbatch.offsets"]) == ranges
    assert (batch.end_time or 0) - (batch.start_time or 0) >= seconds * 1e9


# -- as Airflow's settings send them -----------------------------------------------------------------------


class Received(msgspec.Struct):
    """What came by OTLP over HTTP: the bodies by path."""

    url: str
    bodies: dict[str, list[bytes]] = {}

    def spans(self) -> list[Any]:
        """All spans."""
        found = [ExportTraceServiceRequest.FromString(body) for body in self.bodies.get("/v1/traces", [])]
        return [
            span
            for request in found
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> set[tuple[str, str]]:
        """Name and pipeline of each metric that has a label `pipeline`."""
        found = [ExportMetricsServiceRequest.FromString(body) for body in self.bodies.get("/v1/metrics", [])]
        return {
            (metric.name, label.value.string_value)
            for request in found
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in getattr(metric, metric.WhichOneof("data") or "").data_points
            for label in point.attributes
            if label.key == "pipeline"
        }


@pytest.fixture
def collector() -> Iterator[Received]:
    """A receiver of OTLP over HTTP."""
    received = Received("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            received.bodies.setdefault(self.path, []).append(gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_and_metrics_go_where_airflows_own_go(topics: str, airflow_environment: str, collector: Received) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))
    environment = {
        **os.environ,
        "AIRFLOW__TRACES__OTEL_ON": "True",
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }

    subprocess.run([sys.executable, "-m", "airflow", "dags", "test", "sales"], env=environment, check=True)

    spans = collector.spans()
    assert sorted(span.name for span in spans if span.name.startswith("microbatch.")) == sorted(
        ["microbatch.batch", *STEPS, *PUBLISHED]
    )
    (batch,) = [span for span in spans if span.name == "microbatch.batch"]
    assert {span.name for span in spans if span.parent_span_id == batch.span_id} == set(STEPS)
    told = collector.metrics()
    assert {("airflow.microbatch.messages", "sales"), ("airflow.microbatch.read_ms", "sales")} <= told, told
