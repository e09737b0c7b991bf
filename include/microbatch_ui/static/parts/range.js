// Which time is shown: a span up to the newest window, or one from a time to a time (UTC).
import { html, useState } from "../lib/ui.js";

const HOUR_S = 3600;
const SPANS = [
  { name: "1h", title: "1 h", seconds: HOUR_S },
  { name: "6h", title: "6 h", seconds: 6 * HOUR_S },
  { name: "24h", title: "24 h", seconds: 24 * HOUR_S },
  { name: "7d", title: "7 d", seconds: 168 * HOUR_S },
  { name: "all", title: "Newest", seconds: null },
];
// A span of fewer windows than this shows little.
const FEW = 20;

// The shortest span that has some windows of that size.
export function usualSpan(sizeS) {
  return SPANS.find(({ seconds }) => seconds === null || seconds >= FEW * (sizeS ?? 0)).name;
}

// {from, to} as ISO texts or null. A span ends with the newest window, and where nothing is complete, now.
export function boundsOf(range, completeUntil) {
  if (range.from || range.to) {
    return { from: range.from, to: range.to };
  }
  const { seconds } = SPANS.find(({ name }) => name === range.span) ?? SPANS[0];
  const end = completeUntil === null ? Math.floor(Date.now() / 60_000) * 60_000 : Date.parse(completeUntil);
  return { from: seconds === null ? null : new Date(end - seconds * 1000).toISOString(), to: null };
}

// `range`: {span, from, to}; `choose(range)` takes another one.
export function RangeChooser({ range, choose }) {
  const isOwn = Boolean(range.from || range.to);
  const [isOpen, setOpen] = useState(false);
  return html`
    <div class="row" role="group" aria-label="Time shown">
      <div class="choices">
        ${SPANS.map(({ name, title }) => html`
          <button type="button" key=${name} aria-pressed=${String(!isOwn && range.span === name)}
            onClick=${() => choose({ span: name })}>${title}</button>
        `)}
        <button type="button" aria-pressed=${String(isOwn)} aria-expanded=${String(isOpen)}
          onClick=${() => setOpen(!isOpen)}>Custom</button>
      </div>
      ${isOwn && html`<button type="button" onClick=${() => choose({ span: range.span })}>Reset zoom</button>`}
      ${isOpen && html`<${OwnRange} key=${`${range.from}/${range.to}`} range=${range} choose=${choose} />`}
    </div>
  `;
}

function OwnRange({ range, choose }) {
  const [from, setFrom] = useState(fieldOf(range.from));
  const [to, setTo] = useState(fieldOf(range.to));
  const isWrong = Boolean(from && to && from >= to);
  const submit = (event) => {
    event.preventDefault();
    choose({ span: range.span, from: isoOf(from), to: isoOf(to) });
  };
  return html`
    <form class="row" onSubmit=${submit}>
      <${TimeField} title="From (UTC)" value=${from} set=${setFrom} />
      <${TimeField} title="To (UTC)" value=${to} set=${setTo} />
      <button type="submit" disabled=${isWrong || !(from || to)}>Show</button>
      ${isWrong && html`<span role="alert">From has to be before To.</span>`}
    </form>
  `;
}

function TimeField({ title, value, set }) {
  return html`
    <label class="field">
      <span>${title}</span>
      <input type="datetime-local" step="1" value=${value} onInput=${(event) => set(event.target.value)} />
    </label>
  `;
}

function fieldOf(iso) {
  return iso ? new Date(iso).toISOString().slice(0, 19) : "";
}

function isoOf(field) {
  return field ? new Date(`${field}Z`).toISOString() : null;
}
