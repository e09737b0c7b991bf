// Batches along time: a lane for each shard, a bar for each batch. The table below it has the same in words.
import { clock, duration, number, time } from "../lib/format.js";
import { airflow, leadAirflow } from "../lib/frame.js";
import { html, useEffect, useRef, useState } from "../lib/ui.js";
import { logOf, secondsOf } from "./batch.js";
import { rangeText } from "./ranges.js";

const LANE = 26;
const LEFT = 64;
const AXIS = 24;
const STEPS_S = [1, 5, 15, 30, 60, 300, 900, 3600, 21_600, 86_400, 604_800, 2_592_000];
const LOOKS = { "catch up": "live", interval: "history", loss: "lost", redone: "redone" };

export function Timeline({ batches }) {
  const [box, width] = useWidth();
  const [shown, setShown] = useState(null);
  const timed = batches.filter((batch) => batch.kind !== "archive");
  if (timed.length === 0) {
    return html`<p class="muted">Only archives: their runs are not told apart any more.</p>`;
  }
  const shards = [...new Set(timed.map((batch) => batch.shard))].sort((one, other) => one - other);
  const from = Math.min(...timed.map((batch) => Date.parse(batch.batch_time)));
  const to = Math.max(from + 1000, ...timed.map((batch) => Date.parse(batch.committed_at)));
  const scale = (at) => LEFT + ((at - from) / (to - from)) * (width - LEFT - 8);
  const height = shards.length * LANE + AXIS;
  const label = `${timed.length} batches in ${shards.length} shards from ${time(from)} to ${time(to)} UTC`;
  return html`
    <figure ref=${box} class="timeline">
      <svg role="img" aria-label=${label} viewBox="0 0 ${width} ${height}" height=${height} width=${width}>
        <${Axis} from=${from} to=${to} scale=${scale} top=${shards.length * LANE} width=${width} />
        ${shards.map((shard, lane) => html`<${Lane} key=${shard} shard=${shard} top=${lane * LANE} width=${width} />`)}
        ${timed.map((batch) => html`
          <${Bar} key=${batch.batch_id} batch=${batch} scale=${scale} top=${shards.indexOf(batch.shard) * LANE}
            show=${setShown} />
        `)}
      </svg>
      <figcaption class="small muted">
        ${shown ? textOf(shown) : "Point at a bar to see what it read; a click leads to its log in Airflow."}
        ${!shown && html`<${Legend} batches=${timed} />`}
      </figcaption>
    </figure>
  `;
}

function Lane({ shard, top, width }) {
  return html`
    <g>
      <text x="0" y=${top + LANE / 2} dominant-baseline="central">shard ${shard}</text>
      <line x1=${LEFT} x2=${width} y1=${top + LANE - 0.5} y2=${top + LANE - 0.5} />
    </g>
  `;
}

function Bar({ batch, scale, top, show }) {
  const left = scale(Date.parse(batch.batch_time));
  const right = scale(Date.parse(batch.committed_at));
  const address = logOf(batch);
  const open = () => {
    const href = new URL(`..${address}`, window.location.href).pathname;
    if (airflow !== null) {
      leadAirflow(href);
    } else {
      window.location.assign(href);
    }
  };
  const kind = LOOKS[batch.redone_at ? "redone" : batch.kind] ?? "live";
  return html`
    <rect class="batch ${kind} ${address ? "leads" : ""}" x=${left} y=${top + 4} rx="2"
      width=${Math.max(3, right - left)} height=${LANE - 9}
      onMouseEnter=${() => show(batch)} onMouseLeave=${() => show(null)} onClick=${address ? open : undefined} />
  `;
}

function Axis({ from, to, scale, top, width }) {
  const most = Math.max(1, (width - LEFT) / 110);
  const step = 1000 * (STEPS_S.find((each) => (to - from) / (1000 * each) <= most) ?? STEPS_S.at(-1));
  const first = Math.ceil(from / step) * step;
  const count = Math.max(0, Math.floor((to - first) / step) + 1);
  const times = Array.from({ length: count }, (_, place) => first + place * step);
  const text = to - from > 86_400_000 ? (at) => time(at).slice(5, 16) : clock;
  return html`
    <g aria-hidden="true">
      ${times.map((at) => html`
        <line key=${at} x1=${scale(at)} x2=${scale(at)} y1="0" y2=${top} />
        <text x=${Math.min(scale(at), width - 36)} y=${top + AXIS - 6} text-anchor="middle">${text(at)}</text>
      `)}
    </g>
  `;
}

function Legend({ batches }) {
  const kinds = [...new Set(batches.map(({ redone_at: redone, kind }) => (redone ? "redone" : kind)))];
  return html`
    <span class="legend">
      ${kinds.map((kind) => html`
        <span key=${kind}><span class="swatch ${LOOKS[kind] ?? "live"}"></span>${kind}</span>
      `)}
    </span>
  `;
}

function textOf(batch) {
  const ranges = batch.ranges.slice(0, 3).map(({ partition, start, end }) => `[${partition}] ${rangeText(start, end)}`);
  const more = batch.ranges.length > 3 ? ` and ${batch.ranges.length - 3} more` : "";
  const facts = [
    `batch ${batch.batch_id}`, batch.kind, time(batch.batch_time), duration(secondsOf(batch)),
    `${number(batch.messages)} messages`, `${number(batch.rejected)} dead letters`, ranges.join(", ") + more,
  ];
  return facts.join(" · ");
}

function useWidth() {
  const box = useRef(null);
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const watched = new ResizeObserver(([entry]) => setWidth(Math.max(240, Math.floor(entry.contentRect.width))));
    watched.observe(box.current);
    return () => watched.disconnect();
  }, []);
  return [box, width];
}
