// The rows of a window output, newest first; each leads to how its number came to be.
import { number, time } from "../lib/format.js";
import { go } from "../lib/links.js";
import { usePages } from "../lib/paging.js";
import { Empty, Loaded } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html } from "../lib/ui.js";
import { More } from "./more.js";
import { boundsOf } from "./range.js";

const EVERY_MS = 30_000;
const NUMBERS = /^(numeric|decimal|smallint|integer|bigint|real|double precision|int[248]|float[48])/;

export function Rows({ pipeline, output, choice }) {
  const address = `${addressOf(pipeline, output)}/rows`;
  // Rows are asked for one key or for all.
  const key = choice.keys.length === 1 ? JSON.stringify(choice.keys[0]) : null;
  const asked = { ...boundsOf(choice.range, pipeline.complete_until), key };
  const what = JSON.stringify([address, choice.range, key]);
  const pages = usePages(address, asked, (page) => page.rows, { everyMs: EVERY_MS, what });
  const none = html`<${Empty} title="No row in this time" />`;
  const columns = pages.state.data?.columns ?? [];
  const open = (row) => {
    const value = (name) => row[columns.findIndex((column) => column.name === name)];
    const ofRow = output.by.map(([name]) => String(value(name)));
    go([pipeline.name, "number", output.table], { window: value("window_start"), key: ofRow });
  };
  return html`
    <section class="stack tight" aria-label="Rows of ${output.table}">
      <h2>Rows</h2>
      <${Loaded} state=${pages.state} isEmpty=${() => pages.rows.length === 0 && !pages.more} empty=${none} lines=${6}>
        ${() => html`
          <${Table} columns=${columns.map(columnOf)} rows=${pages.rows} onRow=${open}
            caption="${output.table}, ${key === null ? "all keys" : choice.keys[0].join(", ")}, newest first" />
        `}
      <//>
      <${More} pages=${pages} what="rows" />
    </section>
  `;
}

export function addressOf(pipeline, output) {
  return `api/pipelines/${encodeURIComponent(pipeline.name)}/results/${encodeURIComponent(output.table)}`;
}

function columnOf({ name, type }, place) {
  const isNumber = NUMBERS.test(type);
  return { name, title: name, align: isNumber ? "right" : "left", show: (row) => shown(row[place], type, isNumber) };
}

function shown(value, type, isNumber) {
  if (value === null || value === undefined) {
    return html`<span class="muted">null</span>`;
  }
  if (isNumber) {
    return number(value);
  }
  if (type.startsWith("timestamp")) {
    return time(value);
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
