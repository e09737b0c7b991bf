// Where the messages of a number's batches are in Kafka, as far as it has them still.
import { useData } from "../lib/api.js";
import { number } from "../lib/format.js";
import { PageLink } from "../lib/links.js";
import { Loaded } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html } from "../lib/ui.js";
import { rangeText } from "./ranges.js";

const MOST = 100;

// `mayRead`: whether the person may read messages; null: that is not known yet.
export function NumberMessages({ found, address, asked, mayRead }) {
  const state = useData(mayRead ? address : null, asked);
  return html`
    <section class="stack tight">
      <h2>Messages</h2>
      ${mayRead === false && html`
        <p class="muted">Messages are for those who may read topics: ask who manages Airflow's roles.</p>
      `}
      ${mayRead && html`<${Loaded} state=${state}>${(data) => html`<${InKafka} found=${found} data=${data} />`}<//>`}
    </section>
  `;
}

function InKafka({ found, data }) {
  const ranges = data.ranges.toReversed();
  const columns = [
    { name: "batch", title: "Batch", align: "right", show: (range) => range.batch_id },
    { name: "partition", title: "Partition", align: "right", show: (range) => range.partition },
    { name: "offsets", title: "Offsets", show: (range) => rangeText(range.start, range.end) },
    { name: "there", title: "In Kafka", show: (range) => html`<${Kept} topic=${data.topic} range=${range} />` },
  ];
  return html`
    <p class="muted">
      The batches have read these offsets, and with them messages of other keys and windows. Which ones count towards
      this number only the pipeline's own code tells, where its DAG file is:
    </p>
    <pre class="card">${commandOf(found)}</pre>
    <${Table} columns=${columns} rows=${ranges.slice(0, MOST)}
      keyOf=${(range) => `${range.batch_id}/${range.partition}/${range.start}`}
      caption="What the batches have read of ${data.topic}, newest first; of a range the last offset is excluded" />
    ${ranges.length > MOST && html`<p class="muted small">The newest ${MOST} of ${number(ranges.length)} ranges.</p>`}
  `;
}

function Kept({ topic, range }) {
  const { partition, start, end, kept_from: from } = range;
  if (from === end) {
    return html`<span class="muted">gone: Kafka's retention has deleted them, or the topic was made anew</span>`;
  }
  const text = html`
    <${PageLink} page="topics" parts=${[topic]} params=${{ partition, offset: from }}>
      messages from ${number(from)}
    <//>
  `;
  const gone = html`<span class="muted">${rangeText(start, from)} are deleted by retention</span>`;
  return html`<span>${text}${from !== start && html` ${gone}`}</span>`;
}

// The command that prints the very messages, as a shell takes it.
function commandOf({ schema, table, key, window }) {
  const keys = Object.values(key).map(String);
  const end = keys.some((value) => value.startsWith("-")) ? ["--"] : [];
  const words = ["--window", window[0], "--messages", ...end, `${schema}.${table}`, ...keys];
  return ["microbatch explain", ...words.map(shellWord)].join(" ");
}

function shellWord(text) {
  return /^[\w.,:@%/=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
