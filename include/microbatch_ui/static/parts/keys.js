// Which keys are shown: those that somebody has chosen, else the largest of the newest window.
import { html, useState } from "../lib/ui.js";

// As many as a chart tells apart.
const MOST = 8;

// `by`: [[name, type]]; `keys`: chosen ones, each a list of texts; `choose(keys)` takes others.
export function KeyFilter({ by, keys, choose }) {
  const [values, setValues] = useState(by.map(() => ""));
  const isWhole = values.every((value) => value !== "");
  const add = (event) => {
    event.preventDefault();
    const isNew = !keys.some((key) => key.every((value, place) => value === values[place]));
    choose(isNew ? [...keys, values] : keys);
    setValues(by.map(() => ""));
  };
  return html`
    <div class="row" role="group" aria-label="Keys shown">
      <form class="row end" onSubmit=${add}>
        ${by.map(([name], place) => html`
          <label class="field" key=${name}>
            <span>${name}</span>
            <input value=${values[place]} size="12" autocomplete="off" spellcheck=${false}
              onInput=${(event) => setValues(values.map((old, each) => (each === place ? event.target.value : old)))} />
          </label>
        `)}
        <button type="submit" disabled=${!isWhole || keys.length >= MOST}>Show key</button>
      </form>
      ${keys.map((key) => html`
        <button type="button" class="chip" key=${JSON.stringify(key)} aria-label="Remove key ${key.join(", ")}"
          onClick=${() => choose(keys.filter((each) => each !== key))}>
          ${key.join(" · ")}<span aria-hidden="true">×</span>
        </button>
      `)}
      ${keys.length > 0 && html`<button type="button" class="link" onClick=${() => choose([])}>Show the largest<//>`}
    </div>
  `;
}
