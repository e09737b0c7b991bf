// Messages of a topic: the newest, those from an offset or a time on, and those that come.
import { useData } from "../lib/api.js";
import { number, time } from "../lib/format.js";
import { go, Link } from "../lib/links.js";
import { Empty, Failed, Loading } from "../lib/states.js";
import { html, useState } from "../lib/ui.js";
import { Finder, finder, isIn } from "./find.js";
import { MessageTable } from "./messages.js";
import { rangeText } from "./ranges.js";
import { useTail } from "./tail.js";
import { PlaceChooser } from "./topic-place.js";

const LIMIT = 50;
const PLACES = ["offset", "time", "before", "after"];

export function TopicView({ topic, params }) {
  const names = ["partition", "committed", ...PLACES];
  const place = Object.fromEntries(names.filter((name) => params.has(name)).map((name) => [name, params.get(name)]));
  return html`
    <header class="page-head">
      <nav class="crumbs" aria-label="You are here"><${Link} to=${[]}>Topics<//></nav>
      <h1 class="wrap">${topic}</h1>
    </header>
    <${Messages} topic=${topic} place=${place} />
  `;
}

// `place` is what the address says: {partition, committed} and one of PLACES; without that, the newest messages.
function Messages({ topic, place }) {
  const path = `api/topics/${encodeURIComponent(topic)}/messages`;
  const isNewest = !PLACES.some((name) => name in place);
  const state = useData(path, { ...place, limit: LIMIT });
  const page = state.error ? null : state.data;
  const tail = useTail(path, place, isNewest ? page : null);
  const [text, setText] = useState("");
  const lead = (to) => go([topic], { partition: place.partition, committed: place.committed, ...to });
  const newest = () => (isNewest ? state.reload() : lead({}));
  return html`
    <div class="stack">
      <${PlaceChooser} place=${place} partitions=${state.data?.partitions ?? null} lead=${lead} />
      <div class="row spread">
        <div class="row" role="group" aria-label="Messages shown">
          <button type="button" onClick=${newest}>Newest</button>
          <${Step} title="Older" can=${page?.has_older} lead=${() => lead({ before: JSON.stringify(page.previous) })} />
          <${Step} title="Newer" can=${!isNewest && page?.has_newer}
            lead=${() => lead({ after: JSON.stringify(page.next) })} />
          ${isNewest && html`<${Follow} tail=${tail} />`}
        </div>
        <${Finder} text=${text} set=${setText} />
      </div>
      ${tail.error && html`<${Failed} error=${tail.error} />`}
      <div class="stack tight" aria-busy=${String(state.isLoading)}>
        ${state.error && html`<${Failed} error=${state.error} retry=${state.reload} />`}
        ${!state.error && page === null && html`<${Loading} lines=${8} />`}
        ${page && html`<${Page} topic=${topic} place=${place} page=${page} tail=${tail} text=${text} />`}
      </div>
    </div>
  `;
}

function Step({ title, can, lead }) {
  return html`<button type="button" disabled=${!can} onClick=${lead}>${title}</button>`;
}

// Messages that come are put above the others; while it pauses, they wait in Kafka.
function Follow({ tail }) {
  const off = tail.isPaused ? { title: "Go on", note: "Paused" } : { title: "Follow", note: "" };
  const { title, note } = tail.isOn ? { title: "Pause", note: "Looks for new messages every 2 s" } : off;
  return html`
    <button type="button" class=${tail.isOn ? "primary" : ""} onClick=${tail.toggle}>${title}</button>
    <span class="muted small" role="status">${note}</span>
  `;
}

function Page({ topic, place, page, tail, text }) {
  const all = [...tail.messages, ...page.messages];
  const find = finder(text);
  const messages = find === null ? all : all.filter((message) => isIn(message, find));
  return html`
    <div class="stack tight">
      ${[...page.deleted, ...tail.deleted].map((gone, number) => html`<${Deleted} key=${number} gone=${gone} />`)}
      <${Hole} place=${place} page=${page} />
      <p class="muted small" role=${tail.isOn ? null : "status"}>${summary(all, messages, text)}</p>
      ${all.length === 0 && html`<${Nothing} place=${place} page=${page} />`}
      ${messages.length > 0 && html`
        <${MessageTable} topic=${topic} messages=${messages} find=${find} target=${targetOf(place, page)}
          caption="Messages of ${topic}, the newest first" />
      `}
    </div>
  `;
}

function summary(all, messages, text) {
  if (all.length === 0) {
    return "";
  }
  const times = all.filter(({ timestamp }) => timestamp !== null).map(({ timestamp }) => time(timestamp)).sort();
  const span = times.length > 0 ? `, ${[...new Set([times[0], times.at(-1)])].join(" to ")} UTC` : "";
  const count = `${number(all.length)} ${all.length === 1 ? "message" : "messages"}`;
  return text === "" ? `${count}${span}` : `${number(messages.length)} of ${count} shown: those with “${text}”`;
}

function Deleted({ gone: { partition, start, end } }) {
  return html`
    <div class="note warn">
      <p>[${partition}] ${rangeText(start, end)} is gone: retention has deleted these messages.</p>
    </div>
  `;
}

// The message that the address names; null if it names none, or none is there.
function targetOf(place, page) {
  const isThere = ({ partition, offset }) => `${partition}/${offset}` === `${place.partition}/${place.offset}`;
  return "offset" in place ? (page.messages.find(isThere) ?? null) : null;
}

function Hole({ place, page }) {
  const isDeleted = page.deleted.length > 0;
  if (!("offset" in place) || page.messages.length === 0 || isDeleted || targetOf(place, page) !== null) {
    return null;
  }
  return html`
    <div class="note">
      <p>[${place.partition}] ${number(place.offset)} is no message: a transaction was aborted or ended there, or it was
      compacted away. Later ones are shown.</p>
    </div>
  `;
}

function Nothing({ place, page }) {
  if (page.ends.every(({ low, high }) => low === high)) {
    return html`<${Empty} title="No messages">What is written to it appears here; nothing is there now.<//>`;
  }
  const open = place.committed !== "false" && page.ends.some(({ last_stable: stable, high }) => stable < high);
  return html`
    <${Empty} title="No messages here">
      ${open ? "Those of a transaction that is still open come when it is committed. " : ""}
      ${page.has_older ? "There are older ones." : ""}
    <//>
  `;
}
