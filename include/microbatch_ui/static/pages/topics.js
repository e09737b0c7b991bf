// The topics of pipelines, and the messages of one of them.
import { useData } from "../lib/api.js";
import { number } from "../lib/format.js";
import { Link, PageLink, useRoute } from "../lib/links.js";
import { Empty, Loaded } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html } from "../lib/ui.js";
import { rangeText } from "../parts/ranges.js";
import { TopicView } from "../parts/topic.js";

const EVERY_MS = 10_000;
const AT_MOST = "Markers of transactions and what was compacted away have offsets too";

export function TopicsPage() {
  const { parts, params } = useRoute();
  if (parts.length > 0) {
    return html`<${TopicView} key=${parts[0]} topic=${parts[0]} params=${params} />`;
  }
  return html`<${TopicList} />`;
}

function TopicList() {
  const state = useData("api/topics", {}, { everyMs: EVERY_MS });
  const none = html`
    <${Empty} title="No topics yet">
      The topics of a pipeline appear here once its DAG has run. You see those of pipelines whose DAG you may see.
    <//>
  `;
  return html`
    <header class="page-head"><h1>Topics</h1></header>
    <${Loaded} state=${state} isEmpty=${(topics) => topics.length === 0} empty=${none} lines=${6}>
      ${(topics) => html`
        <${Table} columns=${COLUMNS} rows=${topics} keyOf=${({ topic }) => topic}
          caption="What pipelines read and write" />
      `}
    <//>
  `;
}

const COLUMNS = [
  { name: "topic", title: "Topic", show: ({ topic }) => html`<${Link} to=${[topic]}>${topic}<//>` },
  { name: "role", title: "Is", show: ({ role }) => html`<${Roles} role=${role} />` },
  { name: "pipelines", title: "Of pipeline", show: ({ pipelines }) => html`<${Pipelines} names=${pipelines} />` },
  { name: "partitions", title: "Partitions", show: (topic) => html`<${Partitions} topic=${topic} />` },
  {
    name: "messages",
    title: html`<span title=${AT_MOST}>Messages, at most</span>`,
    align: "right",
    show: ({ is_there: isThere, messages }) => (isThere ? number(messages) : "–"),
  },
  { name: "lag", title: "Not read yet", align: "right", show: ({ readers }) => html`<${Lag} readers=${readers} />` },
];

function Roles({ role }) {
  return html`<span class="row">${role.map((each) => html`<span class="tag" key=${each}>${each}</span>`)}</span>`;
}

function Pipelines({ names }) {
  return names.map((name) => html`<div key=${name}><${PageLink} page="pipelines" parts=${[name]}>${name}<//></div>`);
}

function Partitions({ topic: { topic, is_there: isThere, partitions } }) {
  if (!isThere) {
    return html`<span class="muted">Kafka does not have this topic</span>`;
  }
  return html`
    <details>
      <summary aria-label="${partitions.length} partitions of ${topic}">${partitions.length}</summary>
      <ul class="plain">
        ${partitions.map(({ partition, low, high, covered_until: coveredUntil }) => html`
          <li key=${partition} class="nowrap">
            <${Link} to=${[topic]} params=${{ partition }}>[${partition}]<//> ${rangeText(low, high)}
            ${coveredUntil !== null && html`<span class="muted">, read until ${number(coveredUntil)}</span>`}
          </li>
        `)}
      </ul>
    </details>
  `;
}

function Lag({ readers }) {
  return readers.map(({ pipeline, behind }) => html`
    <div key=${pipeline} class="nowrap">
      ${readers.length > 1 && html`<span class="muted">${pipeline} </span>`}
      ${behind === null ? "not begun" : number(behind)}
    </div>
  `);
}
