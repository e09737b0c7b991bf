// What a pipeline has published: a chart of one measure over time, its corrections, and the rows.
import { useData } from "../lib/api.js";
import { TimeChart } from "../lib/chart.js";
import { number, time } from "../lib/format.js";
import { go, Link, PageLink, useRoute } from "../lib/links.js";
import { Empty, Loaded } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html, useMemo } from "../lib/ui.js";
import { KeyFilter } from "./keys.js";
import { boundsOf, RangeChooser, usualSpan } from "./range.js";
import { addressOf, Rows } from "./rows.js";

const EVERY_MS = 30_000;
const MOST_CORRECTIONS = 20;

export function Results({ pipeline }) {
  const { params } = useRoute();
  const outputs = pipeline.outputs.filter((each) => isTable(each) || each.topic);
  const output = outputs.find((each) => each.table === params.get("table")) ?? usual(outputs);
  if (!output) {
    return html`<${Empty} title="This pipeline stores no results" />`;
  }
  const isWindow = output.kind === "tumbling_window";
  const choice = choiceOf(params, output);
  const choose = (change) => go([pipeline.name], paramsOf({ ...choice, ...change }), { isReplaced: true });
  return html`
    <${Choosers} outputs=${outputs} output=${output} choice=${choice} choose=${choose} />
    ${isWindow && html`<${Series} pipeline=${pipeline} output=${output} choice=${choice} choose=${choose} />`}
    ${isWindow
      ? html`<${Rows} pipeline=${pipeline} output=${output} choice=${choice} />`
      : html`<${Elsewhere} output=${output} />`}
  `;
}

// Rows of streams and pairs are not windows: SQL and the messages show them.
function Elsewhere({ output }) {
  const { schema, table, topic } = output;
  const query = `select *\nfrom "${schema}"."${table}"\nlimit 100;`;
  return html`
    <${Empty} title="No chart of ${nameOf(output)}">
      It is not summed by windows. See its${" "}
      ${isTable(output) && html`<${PageLink} page="sql" params=${{ query }}>rows in SQL<//>`}
      ${isTable(output) && topic && " or its "}
      ${topic && html`<${PageLink} page="topics" parts=${[topic]}>messages<//>`}.
    <//>
  `;
}

function Choosers({ outputs, output, choice, choose }) {
  const another = (event) => choose({ table: event.target.value, measure: null, keys: [], range: {} });
  return html`
    <div class="row end">
      ${outputs.length > 1 && html`
        <${Chooser} title="Output" value=${output.table} names=${outputs.map(({ table }) => table)} set=${another}
          titleOf=${(table) => nameOf(outputs.find((each) => each.table === table))} />
      `}
      ${output.measures?.length > 1 && html`
        <${Chooser} title="Measure" value=${choice.measure} names=${output.measures}
          set=${(event) => choose({ measure: event.target.value })} />
      `}
      ${output.measures && html`<${RangeChooser} range=${choice.range} choose=${(range) => choose({ range })} />`}
      ${output.by?.length > 0 && html`
        <${KeyFilter} key=${output.table} by=${output.by} keys=${choice.keys} choose=${(keys) => choose({ keys })} />
      `}
    </div>
  `;
}

function Chooser({ title, value, names, set, titleOf = (name) => name }) {
  return html`
    <label class="field">
      <span>${title}</span>
      <select value=${value} onChange=${set}>
        ${names.map((name) => html`
          <option key=${name} value=${name} selected=${name === value}>${titleOf(name)}</option>
        `)}
      </select>
    </label>
  `;
}

function Series({ pipeline, output, choice, choose }) {
  const bounds = boundsOf(choice.range, pipeline.complete_until);
  const address = `${addressOf(pipeline, output)}/series`;
  const asked = { ...bounds, measure: choice.measure, key: choice.keys.map((key) => JSON.stringify(key)) };
  const state = useData(address, asked, { everyMs: EVERY_MS });
  const none = html`
    <${Empty} title="No result in this time">Choose a longer time above, or <em>Newest</em> for what there is last.<//>
  `;
  return html`
    <${Loaded} state=${state} isEmpty=${(data) => data.times.length === 0} empty=${none} lines=${7}>
      ${(data) => html`
        <${Chart} pipeline=${pipeline} output=${output} choice=${choice} choose=${choose} data=${data} />
      `}
    <//>
  `;
}

function Chart({ pipeline, output, choice, choose, data }) {
  const marks = useMemo(() => marksOf(data.corrections), [data]);
  // By name, not by size: a key keeps its colour while it grows and shrinks.
  const lines = useMemo(() => data.series.toSorted((one, other) => (one.label < other.label ? -1 : 1)), [data]);
  const zoom = (from, to) => choose({ range: { ...choice.range, from: isoOf(from), to: isoOf(to) } });
  const open = (series, place) => go(...numberAt(pipeline, output, isoOf(data.times[place]), lines[series].key));
  const shown = lines.length;
  return html`
    <section class="card stack" aria-label="${choice.measure} over time">
      <h2>${choice.measure}</h2>
      <${TimeChart} times=${data.times} series=${lines} marks=${marks} onZoom=${zoom} onPoint=${open}
        label="${choice.measure} of ${output.table}" />
      <p class="muted small">
        ${shown < data.keys_total && `${shown} of ${number(data.keys_total)} keys. `}
        ${data.is_cut && choice.range.span !== "all" && `Only the newest ${number(data.windows)} windows. `}
        Times are UTC. Drag to look closer; a click on a point shows how its number came to be.
        ${marks.length > 0 && " A ▼ stands where a final window was corrected."}
      </p>
      ${data.corrections.length > 0 && html`
        <${Corrections} pipeline=${pipeline} output=${output} corrections=${data.corrections} />
      `}
    </section>
  `;
}

function Corrections({ pipeline, output, corrections }) {
  const columns = [
    {
      name: "window",
      title: "Window",
      show: (each) => {
        const [to, params] = numberAt(pipeline, output, each.window_start, each.key);
        return html`<${Link} to=${to} params=${params}>${time(each.window_start)}<//>`;
      },
    },
    { name: "key", title: "Key", show: (each) => each.key.join(", ") },
    { name: "revision", title: "Revision", align: "right", show: (each) => number(each.revision) },
    { name: "at", title: "Corrected at", show: (each) => time(each.at) },
  ];
  const shown = corrections.slice(0, MOST_CORRECTIONS);
  const count = corrections.length === 1 ? "1 correction" : `${number(corrections.length)} corrections`;
  return html`
    <details>
      <summary>${count} after a window was final</summary>
      <${Table} columns=${columns} rows=${shown} caption=${shown.length < corrections.length ? "The first ones" : "All"}
        keyOf=${(each) => `${each.window_start} ${each.key.join("/")} ${each.revision}`} />
    </details>
  `;
}

// The address of a number's page.
export function numberAt(pipeline, output, window, key) {
  return [[pipeline.name, "number", output.table], { window, key }];
}

// What has no table of its own is known by its topic.
function isTable({ schema }) {
  return schema !== "microbatch_topic";
}

function nameOf(output) {
  return isTable(output) ? output.table : output.topic;
}

function usual(outputs) {
  return outputs.find(({ kind }) => kind === "tumbling_window") ?? outputs[0];
}

function choiceOf(params, output) {
  const measures = output.measures ?? [];
  const span = params.get("span") ?? usualSpan(output.size_s);
  return {
    table: output.table,
    measure: measures.includes(params.get("measure")) ? params.get("measure") : (measures[0] ?? null),
    keys: params.getAll("key").map(keyOf).filter((key) => key.length === output.by?.length),
    range: { span, from: params.get("from"), to: params.get("to") },
  };
}

function paramsOf({ table, measure, keys, range }) {
  return { table, measure, key: keys.map((key) => JSON.stringify(key)), ...range };
}

function keyOf(text) {
  try {
    return JSON.parse(text).map(String);
  } catch {
    return [];
  }
}

function marksOf(corrections) {
  const windows = Map.groupBy(corrections, (each) => each.window_start);
  return [...windows].map(([window, all]) => ({
    time: Date.parse(window) / 1000,
    label: `corrected: ${all.map((each) => each.key.join(", ")).join("; ")}`,
  }));
}

function isoOf(seconds) {
  return new Date(Math.round(seconds) * 1000).toISOString();
}
