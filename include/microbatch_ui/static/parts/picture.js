// A query's answer as a picture: numbers over the first column of times, else as bars beside the first column of texts.
import { BarChart, TimeChart } from "../lib/chart.js";
import { Empty } from "../lib/states.js";
import { html, useMemo, useState } from "../lib/ui.js";

export const NUMBERS = /^(smallint|integer|bigint|numeric|real|double precision)/;
const TIMES = /^(timestamp|date$)/;
const TEXTS = /^(text|character|name|uuid)/;
const MOST_LINES = 8;
const MOST_BARS = 50;
// The same one each time: a chart is drawn anew when its data is another.
const NO_MARKS = [];

export function Picture({ columns, rows }) {
  const kinds = useMemo(() => kindsOf(columns), [columns]);
  const [chosen, setChosen] = useState(null);
  const measure = kinds.numbers.includes(chosen) ? chosen : (kinds.numbers[0] ?? null);
  if (measure === null || (kinds.time === null && kinds.texts.length === 0)) {
    return html`
      <${Empty} title="Nothing to draw">A chart needs a column of numbers, and one of times or of texts.<//>
    `;
  }
  const Drawn = kinds.time === null ? Bars : Lines;
  return html`
    <div class="stack">
      ${kinds.numbers.length > 1 && html`
        <${Chooser} columns=${columns} places=${kinds.numbers} chosen=${measure} choose=${setChosen} />
      `}
      <${Drawn} columns=${columns} rows=${rows} kinds=${kinds} measure=${measure} />
    </div>
  `;
}

function Chooser({ columns, places, chosen, choose }) {
  return html`
    <div class="row">
      <label class="field">
        <span>Numbers shown</span>
        <select value=${String(chosen)} onChange=${(event) => choose(Number(event.target.value))}>
          ${places.map((place) => html`
            <option key=${place} value=${String(place)} selected=${place === chosen}>${columns[place].name}</option>
          `)}
        </select>
      </label>
    </div>
  `;
}

function Lines({ columns, rows, kinds, measure }) {
  const { times, series, others } = useMemo(() => linesOf(rows, kinds, measure), [rows, kinds, measure]);
  const label = columns[measure].name;
  const title = `${label} over ${columns[kinds.time].name}`;
  const named = useMemo(() => series.map((each) => ({ ...each, label: each.label || label })), [series, label]);
  if (times.length === 0) {
    return html`<${Empty} title="Nothing to draw">No row has a time.<//>`;
  }
  return html`
    <div class="stack tight">
      <${TimeChart} times=${times} series=${named} marks=${NO_MARKS} label=${title} />
      ${others > 0 && html`<p class="muted small">The first ${MOST_LINES} of ${MOST_LINES + others} lines.</p>`}
    </div>
  `;
}

function Bars({ columns, rows, kinds, measure }) {
  const shown = rows.filter((row) => row[measure] !== null).slice(0, MOST_BARS);
  const isCut = shown.length < rows.length;
  const labels = shown.map((row) => kinds.texts.map((place) => row[place] ?? "null").join(" · "));
  return html`
    <div class="stack tight">
      <${BarChart} labels=${labels} values=${shown.map((row) => row[measure])} label=${columns[measure].name} />
      ${isCut && html`<p class="muted small">The first ${shown.length} of ${rows.length} rows.</p>`}
    </div>
  `;
}

// Places of columns: the first one of times, all of numbers, all of texts.
export function kindsOf(columns) {
  const places = (types) => columns.flatMap(({ type }, place) => (types.test(type) ? [place] : []));
  return { time: places(TIMES)[0] ?? null, numbers: places(NUMBERS), texts: places(TEXTS) };
}

// A line for each different combination of texts; of rows of one line and time the last one counts.
export function linesOf(rows, { time, texts }, measure) {
  const lines = new Map();
  const all = new Set();
  for (const row of rows) {
    const at = secondsOf(row[time]);
    if (at === null) {
      continue;
    }
    const label = texts.map((place) => row[place] ?? "null").join(" · ");
    if (!lines.has(label)) {
      lines.set(label, new Map());
    }
    lines.get(label).set(at, row[measure]);
    all.add(at);
  }
  const times = [...all].sort((first, second) => first - second);
  const shown = [...lines].slice(0, MOST_LINES);
  return {
    times,
    series: shown.map(([label, values]) => ({ label, values: times.map((at) => values.get(at) ?? null) })),
    others: lines.size - shown.length,
  };
}

// PostgreSQL's text of a time ("2026-11-21 10:00:00+00"; UTC if it says no zone) as seconds; null: none, or infinite.
export function secondsOf(text) {
  if (text === null) {
    return null;
  }
  const [day, clock = "00:00:00+00"] = text.split(" ");
  const zoned = /[+-]\d\d(:\d\d)*$/.test(clock) ? clock.replace(/([+-]\d\d)$/, "$1:00") : `${clock}Z`;
  const at = Date.parse(`${day}T${zoned}`);
  return Number.isNaN(at) ? null : at / 1000;
}
