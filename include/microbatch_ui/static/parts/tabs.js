// Tabs as WAI-ARIA has them: arrows, Home and End move between them, Tab leaves them for what they show.
import { html, useRef } from "../lib/ui.js";

export function Tabs({ tabs, chosen, choose, label }) {
  const list = useRef(null);
  const move = (event) => {
    const place = tabs.findIndex((tab) => tab.name === chosen);
    const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) {
      return;
    }
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    list.current.children[next].focus();
    choose(tabs[next].name);
  };
  return html`
    <div class="tabs" role="tablist" aria-label=${label} ref=${list} onKeyDown=${move}>
      ${tabs.map((tab) => html`
        <button type="button" role="tab" id="tab-${tab.name}" key=${tab.name} aria-controls="panel"
          aria-selected=${String(tab.name === chosen)} tabindex=${tab.name === chosen ? 0 : -1}
          onClick=${() => choose(tab.name)}>${tab.title}</button>
      `)}
    </div>
  `;
}

export function Panel({ name, children }) {
  return html`<div class="panel stack" role="tabpanel" id="panel" aria-labelledby="tab-${name}">${children}</div>`;
}
