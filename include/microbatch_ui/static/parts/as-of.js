// Results as they were published at a time: puts the function for it into the query.
import { html, useState } from "../lib/ui.js";
import { nameOf } from "./catalog.js";

const SUFFIX = "_as_of";

export function AsOf({ schemas, insert }) {
  const functions = schemas.flatMap(({ name: schema, tables }) =>
    tables.filter(({ kind }) => kind === "function").map(({ name }) => ({ name, text: nameOf(schema, name) })),
  );
  const [chosen, setChosen] = useState(null);
  const [at, setAt] = useState("");
  if (functions.length === 0) {
    return null;
  }
  const { name: own, text } = functions.find(({ name }) => name === chosen) ?? functions[0];
  const submit = (event) => {
    event.preventDefault();
    insert(`${text}('${at.replace("T", " ")}Z')`);
  };
  return html`
    <form class="stack tight" aria-label="Results as of a time" onSubmit=${submit}>
      <h2>As of a time</h2>
      <p class="muted small">
        What had been published then: the function stands in a query where the table would, after <code>from</code>.
      </p>
      <label class="field">
        <span>Table</span>
        <select value=${own} onChange=${(event) => setChosen(event.target.value)}>
          ${functions.map(({ name }) => html`
            <option key=${name} value=${name} selected=${name === own}>${name.slice(0, -SUFFIX.length)}</option>
          `)}
        </select>
      </label>
      <label class="field">
        <span>Time (UTC)</span>
        <input type="datetime-local" step="1" required value=${at} onInput=${(event) => setAt(event.target.value)} />
      </label>
      <div><button type="submit">Insert</button></div>
    </form>
  `;
}
