// One published number: its revisions, the batches that each sums, and the messages that those have read.
import { useData } from "../lib/api.js";
import { time } from "../lib/format.js";
import { Link } from "../lib/links.js";
import { Loaded } from "../lib/states.js";
import { html } from "../lib/ui.js";
import { shownNumber } from "../parts/measure.js";
import { CheckNote, Notes } from "../parts/number-check.js";
import { NumberMessages } from "../parts/number-messages.js";
import { NumberBatches, Revisions } from "../parts/number-parts.js";

const EVERY_MS = 30_000;

export function NumberPage({ pipeline, table, window, keys }) {
  const address = `api/pipelines/${encodeURIComponent(pipeline)}/numbers/${encodeURIComponent(table)}`;
  const asked = { window, key: keys };
  const state = useData(address, asked, { everyMs: EVERY_MS });
  const me = useData("api/me");
  return html`
    <${Crumbs} pipeline=${pipeline} />
    <${Loaded} state=${state} lines=${8}>
      ${(found) => html`
        <div class="stack">
          <${Head} found=${found} />
          <${CheckNote} found=${found} />
          <${Notes} found=${found} />
          <${Revisions} found=${found} />
          <${NumberBatches} found=${found} />
          <${NumberMessages} found=${found} address=${`${address}/messages`} asked=${asked}
            mayRead=${me.data?.may_read_topics ?? null} />
        </div>
      `}
    <//>
  `;
}

// The tab on a DAG is about one pipeline: there is no list of them above it.
function Crumbs({ pipeline }) {
  const isTab = window.location.pathname.endsWith("/dag");
  return html`
    <nav aria-label="Where you are" class="crumbs row">
      ${!isTab && html`<${Link} to=${[]}>Pipelines<//><span aria-hidden="true">/</span>`}
      <${Link} to=${[pipeline]}>${pipeline}<//>
    </nav>
  `;
}

function Head({ found }) {
  const { table, key, window, revisions } = found;
  const newest = revisions.at(-1);
  return html`
    <header class="stack">
      <div class="row"><h1>${table}</h1><${State} revision=${newest} /></div>
      <p>
        ${time(window[0])} to ${time(window[1])} UTC
        ${Object.entries(key).map(([name, value]) => html`
          <span key=${name}>, <span class="muted">${name}</span> <strong>${String(value)}</strong></span>
        `)}
      </p>
      ${newest && !newest.is_retracted && html`
        <dl class="facts card">
          ${Object.entries(newest.numbers).map(([name, value]) => html`
            <div key=${name}><dt>${name}</dt><dd>${shownNumber(value)}</dd></div>
          `)}
        </dl>
      `}
    </header>
  `;
}

function State({ revision }) {
  if (!revision) {
    return html`<span class="tag">not published yet</span>`;
  }
  const words = [
    `revision ${revision.revision}`,
    revision.is_retracted && "retracted: nothing contributes any more",
    revision.is_final ? "final" : "not final",
    revision.is_correction && "a correction",
  ];
  return html`
    <span class="row">${words.filter(Boolean).map((word) => html`<span class="tag" key=${word}>${word}</span>`)}</span>
  `;
}
