// The batches that a pipeline has read: when, how many at a time, what; each leads to its run and its log in Airflow.
import { duration, number, time } from "../lib/format.js";
import { AirflowLink } from "../lib/links.js";
import { usePages } from "../lib/paging.js";
import { Empty, Loaded } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html } from "../lib/ui.js";
import { logOf, runOf, secondsOf } from "./batch.js";
import { More } from "./more.js";
import { Ranges } from "./ranges.js";
import { Timeline } from "./timeline.js";

const EVERY_MS = 10_000;
const COLUMNS = [
  { name: "batch", title: "Batch", align: "right", show: (batch) => batch.batch_id },
  { name: "kind", title: "Kind", show: (batch) => html`<${Kind} batch=${batch} />` },
  { name: "shard", title: "Shard", align: "right", show: (batch) => batch.shard ?? "–" },
  { name: "time", title: "Started", show: (batch) => time(batch.batch_time) },
  { name: "took", title: "Took", align: "right", show: (batch) => duration(secondsOf(batch)) },
  { name: "messages", title: "Messages", align: "right", show: (batch) => number(batch.messages) },
  { name: "rejected", title: "Dead letters", align: "right", show: (batch) => number(batch.rejected) },
  { name: "ranges", title: "[partition] offsets", show: (batch) => html`<${Ranges} ranges=${batch.ranges} />` },
  { name: "run", title: "In Airflow", show: (batch) => html`<${RunLinks} batch=${batch} />` },
];

export function Batches({ pipeline }) {
  const address = `api/pipelines/${encodeURIComponent(pipeline.name)}/batches`;
  const pages = usePages(address, {}, (page) => page.batches, { everyMs: EVERY_MS });
  const none = html`<${Empty} title="No batch yet">The first run that finds messages makes one.<//>`;
  return html`
    <${Loaded} state=${pages.state} isEmpty=${(page) => page.batches.length === 0} empty=${none} lines=${8}>
      ${() => html`
        <section class="card stack"><h2>When they ran</h2><${Timeline} batches=${pages.rows} /></section>
        <section class="stack tight">
          <h2>Batches</h2>
          <${Table} columns=${COLUMNS} rows=${pages.rows} keyOf=${(batch) => batch.batch_id}
            caption="Newest first; of a range the last offset is excluded" />
          <${More} pages=${pages} what="batches" />
        </section>
      `}
    <//>
    <${Failures} failures=${pipeline.last_failures} />
  `;
}

function Kind({ batch }) {
  return html`
    ${batch.kind}
    ${batch.redone_at && html`${" "}<${Redone} batch=${batch} />`}
  `;
}

function Redone({ batch: { batch_id: id, redone_at: at, redo_dag_id, redo_run_id } }) {
  const run = runOf({ dag_id: redo_dag_id, run_id: redo_run_id });
  const title = `Computed again at ${time(at)} UTC`;
  if (run === null) {
    return html`<span class="tag" title=${title}>redone</span>`;
  }
  const label = `Run that has redone batch ${id}`;
  return html`<${AirflowLink} class="tag" to=${run} title=${title} aria-label=${label}>redone<//>`;
}

function RunLinks({ batch }) {
  const { batch_id: id, run_id: runId } = batch;
  if (runOf(batch) === null) {
    return html`<span class="muted">–</span>`;
  }
  return html`
    <span class="row nowrap">
      <${AirflowLink} to=${runOf(batch)} title=${runId} aria-label="Run of batch ${id}">run<//>
      <${AirflowLink} to=${logOf(batch)} aria-label="Log of batch ${id}">log<//>
    </span>
  `;
}

function Failures({ failures }) {
  if (failures.length === 0) {
    return null;
  }
  const columns = [
    { name: "at", title: "Failed at", show: (failure) => time(failure.failed_at) },
    { name: "error", title: "Error", show: (failure) => html`<pre class="error">${failure.error}</pre>` },
    { name: "run", title: "In Airflow", show: (failure) => html`<${FailedRun} failure=${failure} />` },
  ];
  return html`
    <section class="stack tight">
      <h2>Last failures</h2>
      <${Table} columns=${columns} rows=${failures} caption="Attempts that failed; nothing of them is in the results" />
    </section>
  `;
}

function FailedRun({ failure }) {
  if (runOf(failure) === null) {
    return html`<span class="muted">–</span>`;
  }
  return html`<${AirflowLink} to=${runOf(failure)} title=${failure.run_id}>run<//>`;
}
