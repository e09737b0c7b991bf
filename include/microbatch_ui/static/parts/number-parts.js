// The revisions of a number, and the batches that they sum.
import { number, time } from "../lib/format.js";
import { AirflowLink } from "../lib/links.js";
import { Empty } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html, useState } from "../lib/ui.js";
import { logOf, runOf } from "./batch.js";
import { shownNumber } from "./measure.js";
import { Ranges } from "./ranges.js";

const MOST = 50;
const MOST_LISTED = 12;

export function Revisions({ found }) {
  const columns = [
    { name: "revision", title: "Revision", align: "right", show: (each) => each.revision },
    { name: "from", title: "Published at", show: (each) => time(each.valid_from) },
    { name: "to", title: "Held until", show: (each) => (each.valid_to ? time(each.valid_to) : "it holds") },
    { name: "state", title: "State", show: (each) => html`<${States} revision=${each} />` },
    ...found.measures.map((name) => ({
      name: `number ${name}`,
      title: name,
      align: "right",
      show: (each) => (each.is_retracted ? "–" : shownNumber(each.numbers[name])),
    })),
    { name: "batches", title: "Sums", show: (each) => html`<${Sums} revision=${each} />` },
    {
      name: "run",
      title: "In Airflow",
      show: (each) => html`<${Run} made=${each} text="run" label="Run of revision ${each.revision}" />`,
    },
  ];
  const none = html`<${Empty} title="Not published yet">Its window is not closed, or the next run publishes it.<//>`;
  return html`
    <section class="stack tight">
      <h2>Revisions</h2>
      ${found.revisions.length === 0 ? none : html`
        <${Shortened} all=${found.revisions.toReversed()} what="revisions">
          ${(rows) => html`
            <${Table} columns=${columns} rows=${rows} keyOf=${(each) => each.revision}
              caption="Every revision, newest first" />
          `}
        <//>
      `}
    </section>
  `;
}

export function NumberBatches({ found }) {
  const last = found.revisions.at(-1)?.revision;
  const columns = [
    { name: "batch", title: "Batch", align: "right", show: nameOf },
    { name: "in", title: "In revisions", show: (batch) => membership(batch.revisions, last) },
    { name: "adds", title: "Adds now", show: (batch) => html`<${Contribution} contribution=${batch.contribution} />` },
    { name: "ranges", title: "[partition] offsets", show: (batch) => html`<${Ranges} ranges=${batch.ranges} />` },
    { name: "time", title: "Read at", show: (batch) => time(batch.batch_time) },
    { name: "run", title: "In Airflow", show: (batch) => html`<${ReadBy} batch=${batch} />` },
  ];
  return html`
    <section class="stack tight">
      <h2>Batches</h2>
      <${Shortened} all=${found.batches.toReversed()} what="batches">
        ${(rows) => html`
          <${Table} columns=${columns} rows=${rows} keyOf=${(batch) => batch.batch_id}
            caption="What was summed, of ${found.source_topic}, newest first; of a range the last offset is excluded" />
        `}
      <//>
    </section>
  `;
}

// Its number; of an archive, the numbers that it stands for.
export function nameOf(batch) {
  return batch.last_id === null ? String(batch.batch_id) : `${batch.batch_id}–${batch.last_id}`;
}

function States({ revision }) {
  const words = [
    revision.is_retracted && "retracted",
    revision.is_final ? "final" : "not final",
    revision.is_correction && "a correction",
  ];
  return html`
    <span class="row">${words.filter(Boolean).map((word) => html`<span class="tag" key=${word}>${word}</span>`)}</span>
  `;
}

function Sums({ revision }) {
  const { summed, new_batches: added, gone_batches: gone } = revision;
  return html`
    <div>
      ${summed === 1 ? "1 batch" : `${number(summed)} batches`}
      <div class="muted small">new: ${listed(added)}${gone.length > 0 && `; gone: ${listed(gone)}`}</div>
    </div>
  `;
}

function Contribution({ contribution }) {
  if (contribution === null) {
    return html`<span class="muted">nothing now</span>`;
  }
  return Object.entries(contribution).map(([name, value]) => html`
    <div key=${name} class="nowrap"><span class="muted">${name}</span> ${shownNumber(value)}</div>
  `);
}

function ReadBy({ batch }) {
  if (batch.last_id !== null) {
    return html`<span class="muted">archived: its runs are not told apart any more</span>`;
  }
  return html`
    <div>
      <span class="row nowrap">
        <${Run} made=${batch} text="run" label="Run of batch ${batch.batch_id}" />
        ${runOf(batch) && html`
          <${AirflowLink} to=${logOf(batch)} aria-label="Log of batch ${batch.batch_id}">log<//>
        `}
      </span>
      ${batch.redone_at && html`
        <div class="small">
          <span class="muted">redone ${time(batch.redone_at)} by</span>
          ${" "}<${Run} made=${{ dag_id: batch.redo_dag_id, run_id: batch.redo_run_id }} text=${batch.redo_run_id} />
        </div>
      `}
    </div>
  `;
}

function Run({ made, text, label }) {
  if (runOf(made) === null) {
    return html`<span class="muted">–</span>`;
  }
  return html`<${AirflowLink} class="wrap" to=${runOf(made)} title=${made.run_id} aria-label=${label}>${text}<//>`;
}

// The first of a long list, and a button for the others.
function Shortened({ all, what, children }) {
  const [isWhole, setWhole] = useState(false);
  const shown = isWhole ? all : all.slice(0, MOST);
  return html`
    <div class="stack tight">
      ${children(shown)}
      ${shown.length < all.length && html`
        <div class="row">
          <button type="button" onClick=${() => setWhole(true)}>All ${number(all.length)} ${what}</button>
        </div>
      `}
    </div>
  `;
}

function membership(revisions, last) {
  if (revisions.length === 0) {
    return html`<span class="muted">none yet</span>`;
  }
  const [from, to] = [revisions[0], revisions.at(-1)];
  const text = from === to ? String(from) : `${from} to ${to}`;
  return to === last ? text : html`${text}, <span class="muted">no more</span>`;
}

function listed(ids) {
  const shown = ids.slice(0, MOST_LISTED).join(", ");
  return ids.length > MOST_LISTED ? `${shown} and ${number(ids.length - MOST_LISTED)} more` : shown || "none";
}
