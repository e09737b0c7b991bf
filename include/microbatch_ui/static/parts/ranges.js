// Ranges of offsets, the end excluded, as everywhere in microbatch.
import { number } from "../lib/format.js";
import { html } from "../lib/ui.js";

export function rangeText(start, end) {
  return `${number(start)} – ${number(end)}`;
}

// The ranges of a batch: [{partition, start, end}], a line each; many are folded away.
export function Ranges({ ranges, most = 3 }) {
  const lines = ranges.map(({ partition, start, end }) => html`
    <div key=${`${partition}/${start}`}><span class="muted">[${partition}]</span> ${rangeText(start, end)}</div>
  `);
  if (ranges.length <= most) {
    return html`<div>${lines}</div>`;
  }
  return html`<details><summary>${ranges.length} ranges</summary>${lines}</details>`;
}
