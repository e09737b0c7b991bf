// What a pipeline could not take: reasons, and messages to look at.
import { useData } from "../lib/api.js";
import { number, time } from "../lib/format.js";
import { PageLink } from "../lib/links.js";
import { Empty, Loaded } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html } from "../lib/ui.js";

const EVERY_MS = 30_000;

export function Rejects({ pipeline }) {
  const topic = pipeline.deadletters_topic;
  const address = `api/pipelines/${encodeURIComponent(pipeline.name)}/rejects`;
  const state = useData(address, {}, { everyMs: EVERY_MS });
  const none = html`<${Empty} title="No dead letters">Every message that was read was taken.<//>`;
  return html`
    <p class="muted">
      A message that cannot be taken goes to${" "}
      <${PageLink} page="topics" parts=${[topic]}>${topic}<//>, with its reason in a header.
    </p>
    <${Loaded} state=${state} isEmpty=${(rejects) => rejects.reasons.length === 0} empty=${none}>
      ${(rejects) => html`
        <${Reasons} reasons=${rejects.reasons} />
        <${Samples} pipeline=${pipeline} samples=${rejects.samples} />
      `}
    <//>
  `;
}

function Reasons({ reasons }) {
  const most = Math.max(...reasons.map(({ count }) => count));
  const bar = ({ count }) => html`<span class="bar-fill" style=${{ width: `${(120 * count) / most}px` }}></span>`;
  const columns = [
    { name: "reason", title: "Reason", show: (each) => each.reason },
    { name: "count", title: "Messages", align: "right", show: (each) => number(each.count) },
    { name: "bar", title: html`<span class="unseen">Compared</span>`, show: bar },
    { name: "last", title: "Last read at", show: (each) => time(each.last_at) },
  ];
  return html`
    <section class="stack tight">
      <h2>Reasons</h2>
      <${Table} columns=${columns} rows=${reasons} keyOf=${({ reason }) => reason}
        caption="Of the newest 10,000 at the most, without those that were taken since" />
    </section>
  `;
}

function Samples({ pipeline, samples }) {
  const columns = [
    {
      name: "message",
      title: "Message",
      show: ({ partition, offset }) => html`
        <${PageLink} page="topics" parts=${[pipeline.source_topic]} params=${{ partition, offset }}>
          ${pipeline.source_topic}[${partition}] ${number(offset)}
        <//>
      `,
    },
    { name: "reason", title: "Reason", show: (each) => each.reason },
    { name: "batch", title: "Batch", align: "right", show: (each) => number(each.batch_id) },
    { name: "at", title: "Read at", show: (each) => time(each.at) },
  ];
  return html`
    <section class="stack tight">
      <h2>Messages</h2>
      <${Table} columns=${columns} rows=${samples} caption="The newest that were rejected, by their place in the source"
        keyOf=${(each) => `${each.partition}/${each.offset}/${each.batch_id}`} />
    </section>
  `;
}
