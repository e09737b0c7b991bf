// What there is to ask: schemas with their tables, views and functions; a button puts a name into the query.
import { Empty, Loaded } from "../lib/states.js";
import { html, useState } from "../lib/ui.js";
import { quoted } from "./editor.js";

// `state` is that of `useData`; `insert(text)` puts a text where the query's cursor is.
export function Catalog({ state, insert }) {
  const none = html`
    <${Empty} title="Nothing to ask yet">Tables appear here once a pipeline has run.<//>
  `;
  return html`
    <section class="stack tight" aria-label="Tables">
      <h2>Tables</h2>
      <${Loaded} state=${state} isEmpty=${(data) => data.schemas.length === 0} empty=${none} lines=${8}>
        ${({ schemas }) => schemas.map((schema, place) => html`
          <details key=${schema.name} open=${place === 0}>
            <summary><strong>${schema.name}</strong> <span class="muted small">${schema.tables.length}</span></summary>
            <ul>
              ${schema.tables.map((table) => html`
                <${Relation} key=${table.name} schema=${schema.name} table=${table} insert=${insert} />
              `)}
            </ul>
          </details>
        `)}
      <//>
    </section>
  `;
}

function Relation({ schema, table, insert }) {
  const [isOpen, setOpen] = useState(false);
  const name = nameOf(schema, table.name);
  const isFunction = table.kind === "function";
  const toggled = (event) => setOpen(event.currentTarget.open);
  return html`
    <li>
      <details onToggle=${toggled}>
        <summary>${table.name}${table.kind !== "table" && html` <span class="tag">${table.kind}</span>`}</summary>
        ${isOpen && html`
          ${table.comment && html`<p class="muted small">${table.comment}</p>`}
          <button type="button" class="link small" onClick=${() => insert(isFunction ? `${name}(now())` : name)}>
            Insert ${table.name}
          </button>
          <ul>
            ${table.columns.map((column) => html`<${Column} key=${column.name} column=${column} insert=${insert} />`)}
          </ul>
        `}
      </details>
    </li>
  `;
}

function Column({ column, insert }) {
  return html`
    <li class="small" title=${column.comment ?? ""}>
      <button type="button" class="link" onClick=${() => insert(quoted(column.name))}>${column.name}</button>
      ${" "}<span class="muted">${column.type}</span>
    </li>
  `;
}

// A table as a query names it: what is in `public` is found without.
export function nameOf(schema, name) {
  return schema === "public" ? quoted(name) : `${quoted(schema)}.${quoted(name)}`;
}
