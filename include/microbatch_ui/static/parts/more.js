// The end of a long table: a button for what is further back, and why it did not come.
import { html } from "../lib/ui.js";
import { Failed } from "../lib/states.js";

export function More({ pages, what }) {
  if (pages.moreError) {
    return html`<${Failed} error=${pages.moreError} retry=${pages.more} />`;
  }
  if (pages.more === null) {
    return null;
  }
  return html`
    <div class="row">
      <button type="button" disabled=${pages.isLoadingMore} onClick=${pages.more}>
        ${pages.isLoadingMore ? "Loading …" : `Older ${what}`}
      </button>
    </div>
  `;
}
