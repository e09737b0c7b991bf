// A line for each message, and all that it has when it is opened. What was sent is only ever shown as text.
import { bytes, number, time } from "../lib/format.js";
import { Link } from "../lib/links.js";
import { html, useEffect, useRef, useState } from "../lib/ui.js";
import { Marked } from "./find.js";

const LINE = 200;
// So much of a line stands before its first hit.
const BEFORE = 40;
const COLUMNS = 5;
// The widest column takes what the others leave, and at least so much that a phone shows something.
const CUT = {
  minWidth: "18em",
  maxWidth: "0",
  width: "100%",
  overflow: "hidden",
  textOverflow: "ellipsis",
  whiteSpace: "nowrap",
};
const TARGET = { background: "var(--warn-soft)" };
const SCROLLED = { maxHeight: "28em", overflow: "auto" };

// `find` is what is marked, or null; `target` a message that is opened and brought into sight.
export function MessageTable({ topic, messages, find, target, caption }) {
  const targetId = target && idOf(target);
  const [opened, setOpened] = useState(new Set());
  useEffect(() => setOpened(new Set(target ? [targetId] : [])), [targetId]);
  const toggle = (id) => {
    const changed = new Set(opened);
    if (!changed.delete(id)) {
      changed.add(id);
    }
    setOpened(changed);
  };
  return html`
    <div class="table-box" role="region" aria-label=${caption} tabindex="0">
      <table>
        <caption>${caption}</caption>
        <thead>
          <tr>
            <th scope="col" class="left">Offset</th>
            <th scope="col" class="left">Time (UTC)</th>
            <th scope="col" class="left">Key</th>
            <th scope="col" class="left">Value</th>
            <th scope="col" class="right">Size</th>
          </tr>
        </thead>
        <tbody>
          ${messages.flatMap((message) => {
            const id = idOf(message);
            const isOpen = opened.has(id);
            const shown = { topic, message, find, isTarget: id === targetId };
            return [
              html`<${Line} key=${id} ...${shown} isOpen=${isOpen} toggle=${() => toggle(id)} />`,
              isOpen && html`<${Opened} key="${id} opened" ...${shown} />`,
            ];
          })}
        </tbody>
      </table>
    </div>
  `;
}

function idOf({ partition, offset }) {
  return `message-${partition}-${offset}`;
}

function Line({ message, find, isOpen, isTarget, toggle }) {
  const { partition, offset, timestamp, timestamp_ms: timestampMs, key, value } = message;
  const id = idOf(message);
  const press = (event) => {
    event.stopPropagation();
    toggle();
  };
  return html`
    <tr class="leads" aria-current=${isTarget ? "true" : null} style=${isTarget ? TARGET : null} onClick=${toggle}>
      <td class="left nowrap">
        <button type="button" class="link" aria-expanded=${String(isOpen)} aria-controls=${isOpen ? id : null}
          onClick=${press}>
          <span aria-hidden="true">${isOpen ? "▾" : "▸"} </span>[${partition}] ${number(offset)}
        </button>
      </td>
      <td class="left nowrap">${timestamp === null ? timestampMs : exactTime(timestamp)}</td>
      <td class="left mono nowrap"><${Preview} shown=${key} find=${find} most=${32} /></td>
      <td class="left mono" style=${CUT}><${Preview} shown=${value} find=${find} most=${LINE} /></td>
      <td class="right nowrap">${value === null ? "–" : bytes(value.size)}</td>
    </tr>
  `;
}

// With milliseconds: messages are closer to each other than seconds.
function exactTime(iso) {
  return `${time(iso)}.${String(new Date(iso).getUTCMilliseconds()).padStart(3, "0")}`;
}

// The beginning of a text in one line, or what stands around its first hit.
function Preview({ shown, find, most }) {
  if (shown === null) {
    return html`<span class="muted">null</span>`;
  }
  const hit = find === null ? -1 : shown.text.search(find);
  const start = hit > most / 2 ? hit - Math.min(BEFORE, most / 4) : 0;
  const line = shown.text.slice(start, start + 2 * most).replace(/\s+/g, " ").slice(0, most);
  return html`
    <span>
      ${shown.is_hex && html`<span class="tag">hex</span> `}${start > 0 && "…"}<${Marked} text=${line} find=${find} />
    </span>
  `;
}

function Opened({ topic, message, find, isTarget }) {
  const row = useRef(null);
  useEffect(() => {
    if (isTarget) {
      row.current.scrollIntoView({ block: "nearest" });
    }
  }, [isTarget]);
  const { partition, offset, key, value, headers } = message;
  return html`
    <tr ref=${row} id=${idOf(message)}>
      <td colspan=${COLUMNS}>
        <div class="stack">
          <p class="row small">
            <${Link} to=${[topic]} params=${{ partition, offset }}>Link to this message<//>
            <span class="muted">${message.timestamp_type ?? "No timestamp:"} ${message.timestamp_ms} ms</span>
          </p>
          <${Bytes} title="Key" shown=${key} find=${find} />
          <section class="stack tight">
            <h2>Headers</h2>
            <${Headers} headers=${headers} find=${find} />
          </section>
          <${Bytes} title="Value" shown=${value} find=${find} />
        </div>
      </td>
    </tr>
  `;
}

function Headers({ headers, find }) {
  if (headers.length === 0) {
    return html`<p class="muted">None</p>`;
  }
  return html`
    <table>
      <caption class="unseen">Headers</caption>
      <thead class="unseen"><tr><th scope="col">Name</th><th scope="col">Value</th></tr></thead>
      <tbody>
        ${headers.map(([name, shown], place) => html`
          <tr key=${place}>
            <th scope="row" class="left mono"><${Marked} text=${name} find=${find} /></th>
            <td class="left"><${Text} shown=${shown} find=${find} /></td>
          </tr>
        `)}
      </tbody>
    </table>
  `;
}

function Bytes({ title, shown, find }) {
  return html`
    <section class="stack tight">
      <h2>${title}${shown && html` <span class="muted small">${bytes(shown.size)}</span>`}</h2>
      <${Text} title=${title} shown=${shown} find=${find} />
    </section>
  `;
}

// The whole text as it came: lines and spaces too.
function Text({ title, shown, find }) {
  if (shown === null) {
    return html`<p class="muted">null</p>`;
  }
  const notes = [
    shown.is_hex && "In hexadecimal: it is not UTF-8",
    shown.is_cut && `Only the first 64 KiB of ${bytes(shown.size)}`,
    shown.size === 0 && "Empty",
  ].filter(Boolean);
  return html`
    <div>
      ${notes.length > 0 && html`<p class="muted small">${notes.join(". ")}</p>`}
      ${shown.size > 0 && html`
        <pre style=${SCROLLED} tabindex="0" aria-label=${title}><${Marked} text=${shown.text} find=${find} /></pre>
      `}
    </div>
  `;
}
