// What came after its window had ended, and what it has corrected.
import { useData } from "../lib/api.js";
import { duration, number, time } from "../lib/format.js";
import { Empty, Loaded } from "../lib/states.js";
import { Table } from "../lib/table.js";
import { html } from "../lib/ui.js";

const EVERY_MS = 30_000;
const WINDOWS = [
  { name: "window", title: "Window", show: (each) => time(each.window_start) },
  { name: "table", title: "Output", show: (each) => each.table },
  { name: "messages", title: "Late messages", align: "right", show: (each) => number(each.messages) },
  { name: "lateness", title: "Latest by", align: "right", show: (each) => duration(each.lateness_s) },
  { name: "corrections", title: "Corrections", align: "right", show: (each) => number(each.corrections) },
];
const DAYS = [
  { name: "day", title: "Day (UTC)", show: (each) => String(each.day).slice(0, 10) },
  { name: "table", title: "Output", show: (each) => each.table },
  { name: "messages", title: "Late messages", align: "right", show: (each) => number(each.messages) },
  { name: "lateness", title: "Latest by", align: "right", show: (each) => duration(each.lateness_s) },
];

export function Late({ pipeline }) {
  const address = `api/pipelines/${encodeURIComponent(pipeline.name)}/late`;
  const state = useData(address, {}, { everyMs: EVERY_MS });
  const none = html`<${Empty} title="Nothing came late">No message reached Kafka after its window had ended.<//>`;
  return html`
    <p class="muted">
      A message is late if it reached Kafka, by Kafka's timestamp, after its window had ended. It corrects what
      was published already.
    </p>
    <${Loaded} state=${state} isEmpty=${(late) => late.windows.length === 0} empty=${none}>
      ${(late) => html`
        ${late.days?.length > 0 && html`
          <section class="stack tight"><h2>By day</h2>
            <${Table} columns=${DAYS} rows=${late.days} caption="Late messages of each day" />
          </section>
        `}
        <section class="stack tight"><h2>By window</h2>
          <${Table} columns=${WINDOWS} rows=${late.windows} caption="Windows with late messages, newest first"
            keyOf=${(each) => `${each.table} ${each.window_start}`} />
        </section>
      `}
    <//>
  `;
}
