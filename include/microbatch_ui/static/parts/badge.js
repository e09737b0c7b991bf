// The state of a pipeline: a text, a colour, and a shape for those who do not tell colours apart.
import { html } from "../lib/ui.js";

const DISC = "M6 0a6 6 0 1 0 0 12A6 6 0 0 0 6 0z";
const LOOKS = {
  healthy: { kind: "good", text: "Healthy", shape: `${DISC}M5.2 8.7 2.7 6.2l1-1 1.5 1.5 3.1-3.1 1 1z` },
  behind: { kind: "warn", text: "Behind", shape: "M6 .6 12 11.4H0zM5.4 4.6v3.2h1.2V4.6zm0 4.2V10h1.2V8.8z" },
  stopped: { kind: "bad", text: "Stopped", shape: "M3.6 0h4.8L12 3.6v4.8L8.4 12H3.6L0 8.4V3.6zM3 5.2v1.6h6V5.2z" },
  new: { kind: "", text: "New", shape: `${DISC}M6 1.6a4.4 4.4 0 1 1 0 8.8 4.4 4.4 0 0 1 0-8.8z` },
};

export function StateBadge({ state }) {
  const look = LOOKS[state] ?? { ...LOOKS.new, text: state };
  return html`
    <span class="badge ${look.kind}">
      <svg viewBox="0 0 12 12" aria-hidden="true"><path fill-rule="evenodd" d=${look.shape} /></svg>${look.text}
    </span>
  `;
}

// Why it is in that state, and what to do; nothing if it is healthy.
export function StateNote({ pipeline }) {
  if (!pipeline.reason) {
    return null;
  }
  const kind = LOOKS[pipeline.state]?.kind ?? "";
  return html`
    <div class="note ${kind}">
      <p>${pipeline.reason}</p>
      ${pipeline.remedy && html`<p><strong>What to do:</strong> ${pipeline.remedy}</p>`}
    </div>
  `;
}
