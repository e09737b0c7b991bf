// How far each partition of the source is read, and what was stepped over.
import { number } from "../lib/format.js";
import { PageLink } from "../lib/links.js";
import { Empty } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html } from "../lib/ui.js";
import { rangeText } from "./ranges.js";

const PARTITIONS = [
  { name: "partition", title: "Partition", align: "right", show: (each) => each.partition },
  { name: "covered", title: "Read until offset", align: "right", show: (each) => number(each.covered_until) },
  { name: "end", title: "End at the last look", align: "right", show: (each) => number(each.looked_at_end) },
  { name: "behind", title: "Not read yet", align: "right", show: (each) => number(each.behind) },
];

export function Partitions({ pipeline }) {
  const { partitions, source_topic: topic } = pipeline;
  const none = html`
    <${Empty} title="No run has looked at the source yet">Unpause the DAG, or trigger a run of it.<//>
  `;
  return html`
    <section class="stack tight">
      <h2>Partitions</h2>
      ${partitions.length === 0 ? none : html`
        <${Table} columns=${PARTITIONS} rows=${partitions} keyOf=${(each) => each.partition}
          caption="Partitions of ${topic}" />
      `}
    </section>
    <${Gaps} pipeline=${pipeline} />
  `;
}

function Gaps({ pipeline }) {
  const { gaps, source_topic: topic } = pipeline;
  const columns = [
    { name: "partition", title: "Partition", align: "right", show: (gap) => gap.partition },
    {
      name: "offsets",
      title: "Offsets",
      show: (gap) => html`
        <${PageLink} page="topics" parts=${[topic]} params=${{ partition: gap.partition, offset: gap.start_offset }}>
          ${rangeText(gap.start_offset, gap.end_offset)}
        <//>
      `,
    },
    { name: "count", title: "Count", align: "right", show: (gap) => number(gap.end_offset - gap.start_offset) },
  ];
  if (gaps.length === 0) {
    return html`
      <section class="stack tight">
        <h2>Gaps</h2>
        <p class="muted">None: nothing between what was read was left out.</p>
      </section>
    `;
  }
  return html`
    <section class="stack tight">
      <h2>Gaps</h2>
      <div class="note warn">
        <p>
          These offsets were stepped over, and results that they could change are not final. The next scheduled run
          reads those that lie after the pipeline's beginning; the DAG fill_gaps reads earlier ones, each night or when
          it is triggered.
        </p>
      </div>
      <${Table} columns=${columns} rows=${gaps} caption="Offsets that were not read, the end excluded"
        keyOf=${(gap) => `${gap.partition}/${gap.start_offset}`} />
    </section>
  `;
}
