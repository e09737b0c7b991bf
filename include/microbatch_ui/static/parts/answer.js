// The answer to a query: as a table, as a picture, and as a file to take away.
import { duration, number } from "../lib/format.js";
import { Empty } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html, useMemo, useState } from "../lib/ui.js";
import { csvOf, save } from "./csv.js";
import { NUMBERS, Picture } from "./picture.js";

const LOOKS = [
  { name: "table", title: "Table" },
  { name: "chart", title: "Chart" },
];

// `answer`: {columns: [{name, type}], rows: [[text or null]], is_cut, has_cut_cells, seconds}
export function Answer({ answer }) {
  const [look, setLook] = useState("table");
  const { columns, rows } = answer;
  const download = () => {
    const at = new Date().toISOString().slice(0, 19).replaceAll(":", "");
    save(`query-${at}Z.csv`, "text/csv", csvOf(columns.map(({ name }) => name), rows));
  };
  if (columns.length > 0 && rows.length === 0) {
    return html`
      <div class="stack tight"><${Told} answer=${answer} /><${Empty} title="No row">The query found nothing.<//></div>
    `;
  }
  return html`
    <div class="answer stack tight">
      <div class="row spread">
        <${Told} answer=${answer} />
        <div class="row">
          <div class="choices" role="group" aria-label="Show the answer as">
            ${LOOKS.map(({ name, title }) => html`
              <button type="button" key=${name} aria-pressed=${String(look === name)} onClick=${() => setLook(name)}>
                ${title}
              </button>
            `)}
          </div>
          <button type="button" onClick=${download}>Download CSV</button>
        </div>
      </div>
      ${look === "table" && html`<${Rows} columns=${columns} rows=${rows} />`}
      ${look === "chart" && html`<div class="card stack"><${Picture} columns=${columns} rows=${rows} /></div>`}
    </div>
  `;
}

function Told({ answer }) {
  const { rows, is_cut: isCut, has_cut_cells: hasCutCells, seconds } = answer;
  const count = rows.length === 1 ? "1 row" : `${number(rows.length)} rows`;
  return html`
    <p role="status">
      ${count} in ${duration(seconds)}
      ${isCut && html` <strong>Cut: there are more. Ask for fewer, or for sums of them.</strong>`}
      ${hasCutCells && html` <strong>Texts of more than 10,000 characters are cut (…).</strong>`}
    </p>
  `;
}

function Rows({ columns, rows }) {
  // Of two columns that have the same name, each is one.
  const shown = useMemo(
    () => columns.map(({ name, type }, place) => ({
      name: String(place),
      title: html`<span title=${type}>${name}</span>`,
      align: NUMBERS.test(type) ? "right" : "left",
      show: (row) => (row[place] === null ? html`<span class="muted">null</span>` : row[place]),
    })),
    [columns],
  );
  return html`<${Table} columns=${shown} rows=${rows} caption="Answer; times are UTC" />`;
}
