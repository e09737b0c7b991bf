// Finding a text in what is shown. Hits are elements between texts: nothing that was sent is ever read as HTML.
import { html } from "../lib/ui.js";

export function Finder({ text, set }) {
  return html`
    <label class="field">
      <span>Find in what is shown</span>
      <input type="search" value=${text} onInput=${(event) => set(event.target.value)} />
    </label>
  `;
}

// A pattern whose only group is the hit, in any case; null if nothing is looked for.
export function finder(text) {
  return text === "" ? null : new RegExp(`(${text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")})`, "iu");
}

// Whether the key, the value or a header of a message has it.
export function isIn(message, find) {
  const headers = message.headers.flatMap(([name, shown]) => [name, shown?.text]);
  return [message.key?.text, message.value?.text, ...headers].some((text) => find.test(text ?? ""));
}

// A text in which hits are marked.
export function Marked({ text, find }) {
  const parts = find === null ? [text] : text.split(find);
  return html`<span>${parts.map((part, place) => (place % 2 === 1 ? html`<mark>${part}</mark>` : part))}</span>`;
}
