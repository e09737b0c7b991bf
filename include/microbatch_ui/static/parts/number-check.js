// Whether a number is the sum of its parts, and what else there is to know of it.
import { number, time } from "../lib/format.js";
import { html } from "../lib/ui.js";
import { shownNumber } from "./measure.js";
import { nameOf } from "./number-parts.js";

export function CheckNote({ found }) {
  const { check } = found;
  if (check === null) {
    return null;
  }
  const count = found.batches.filter(({ contribution }) => contribution !== null).length;
  const parts = `The contributions of ${count === 1 ? "1 batch" : `${number(count)} batches`}`;
  if (check.agrees) {
    return html`
      <div class="note good"><p>${parts} give this number: ${sums(check.totals)}.</p></div>
    `;
  }
  const reason = why(check);
  const unknown = html`This should not be: <code>microbatch audit</code> tells more.`;
  return html`
    <div class="note ${reason ? "warn" : "bad"}">
      <p>${parts} give another number now: ${sums(check.totals)}.</p>
      <p>${reason ?? unknown}</p>
    </div>
  `;
}

function why({ waiting, redone }) {
  const reasons = [
    waiting.length > 0 && `not in it yet: ${batches(waiting)}`,
    redone.length > 0 && `redone since: ${batches(redone)}`,
  ].filter(Boolean);
  return reasons.length > 0 ? `${reasons.join("; ")}. The next run publishes the difference.` : null;
}

// What `microbatch explain` says below its tables.
export function Notes({ found }) {
  const newest = found.revisions.at(-1);
  const former = found.batches.filter((batch) => batch.is_former).map(nameOf);
  const isSince = (batch) => newest && batch.revisions.includes(newest.revision) && batch.redone_at > newest.valid_from;
  const redone = found.batches.filter((batch) => batch.redone_at !== null && isSince(batch));
  const notes = [
    former.length > 0 && html`
      <p>
        By a definition from before a rebuild: ${batches(former)}.
        ${" "}<code>microbatch rebuild ${found.pipeline}</code> redoes them.
      </p>
    `,
    ...redone.map((batch) => html`
      <p key=${batch.batch_id}>
        Batch ${batch.batch_id} was redone at ${time(batch.redone_at)} UTC by run ${batch.redo_run_id} of
        ${" "}${batch.redo_dag_id}; what it contributes is shown as it is since then.
      </p>
    `),
    found.lost_offsets > 0 && html`
      <p>
        ${found.pipeline} has accepted losses: ${number(found.lost_offsets)} offsets were never read and are in no
        ${" "}number.
      </p>
    `,
  ].filter(Boolean);
  return notes.length > 0 ? html`<div class="note warn">${notes}</div>` : null;
}

function batches(ids) {
  return `${ids.length === 1 ? "batch" : "batches"} ${ids.join(", ")}`;
}

function sums(totals) {
  const texts = Object.entries(totals).map(([name, value]) => `${name} ${shownNumber(value)}`);
  return texts.join(", ") || "nothing";
}
