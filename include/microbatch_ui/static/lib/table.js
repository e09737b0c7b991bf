// A table that scrolls inside its own box.
import { html } from "./ui.js";

// More letters than that are no number, time or name.
const LONG = 40;

// `columns`: {name, title, align: "right" | "left", show: (row) => child}; `keyOf(row)` tells rows apart. With `onRow`
// a click on a row calls it, and what stands in its first column is a button that does the same. Long texts wrap.
export function Table({ columns, rows, keyOf, onRow, caption }) {
  const heads = columns.map(
    (column) => html`<th key=${column.name} scope="col" class=${column.align ?? "left"}>${column.title}</th>`,
  );
  const lines = rows.map((row, place) => html`
    <tr key=${keyOf ? keyOf(row) : place} class=${onRow ? "leads" : ""} onClick=${onRow && (() => onRow(row))}>
      ${columns.map((column, number) => {
        const shown = column.show(row);
        return html`
          <td key=${column.name} class=${`${column.align ?? "left"} ${isLong(shown) ? "wraps" : ""}`}>
            ${onRow && number === 0 ? html`<${RowButton} row=${row} onRow=${onRow}>${shown}<//>` : shown}
          </td>
        `;
      })}
    </tr>
  `);
  return html`
    <div class="table-box" role="region" aria-label=${caption} tabindex="0">
      <table>
        <caption>${caption}</caption>
        <thead><tr>${heads}</tr></thead>
        <tbody>${lines}</tbody>
      </table>
    </div>
  `;
}

function isLong(shown) {
  return typeof shown === "string" && shown.length > LONG;
}

function RowButton({ row, onRow, children }) {
  const press = (event) => {
    event.stopPropagation();
    onRow(row);
  };
  return html`<button type="button" class="link" onClick=${press}>${children}</button>`;
}
