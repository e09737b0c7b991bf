// What a part of a page is before its data is there, without data, and when it cannot be had.
import { clock } from "./format.js";
import { html } from "./ui.js";

// Grey bars in the place of what comes.
export function Loading({ lines = 3 }) {
  const bars = Array.from({ length: lines }, (_, line) => html`<div class="bar" key=${line}></div>`);
  return html`<div class="loading" role="status"><span class="unseen">Loading</span>${bars}</div>`;
}

// There is nothing: `title` says so, `children` why, or what to do.
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p><div class="muted">${children}</div></div>`;
}

// It cannot be had: the error's own text, which names the remedy, and a button to try again.
export function Failed({ error, retry }) {
  const button = retry && html`<button type="button" onClick=${retry}>Try again</button>`;
  return html`<div class="failed" role="alert"><p>${error.message}</p>${button}</div>`;
}

// A state of `useData`: loading, failed, empty (`isEmpty(data)`: shows `empty`), or `children(data)`. Data that could
// not be asked again stays, with a note of when it is from.
export function Loaded(props) {
  // An element that stays holds the place between its neighbours, whatever stands in it.
  return html`<div class="contents">${shown(props)}</div>`;
}

function shown({ state, isEmpty, empty, children, lines }) {
  const { data, error, at, reload } = state;
  if (data === null) {
    return error ? html`<${Failed} error=${error} retry=${reload} />` : html`<${Loading} lines=${lines} />`;
  }
  const old = error && html`<${Old} error=${error} at=${at} retry=${reload} />`;
  const isNothing = isEmpty ? isEmpty(data) : false;
  return [old, isNothing ? empty : children(data)];
}

function Old({ error, at, retry }) {
  return html`
    <div class="failed" role="alert">
      <p>Not refreshed since ${clock(at)} UTC: ${error.message}</p>
      <button type="button" onClick=${retry}>Try again</button>
    </div>
  `;
}
