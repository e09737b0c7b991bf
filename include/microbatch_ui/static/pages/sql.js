// Free SQL over the ledger and all results, for who may read them: ask, look, take away.
import { post, useData } from "../lib/api.js";
import { go, useRoute } from "../lib/links.js";
import { Failed, Loading } from "../lib/states.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib/ui.js";
import { Answer } from "../parts/answer.js";
import { AsOf } from "../parts/as-of.js";
import { Catalog } from "../parts/catalog.js";
import { completions, Editor } from "../parts/editor.js";

const NO_SCHEMAS = [];

export function SqlPage() {
  const { params } = useRoute();
  const asked = params.get("query") ?? "";
  const [query, setQuery] = useState(asked);
  const catalog = useData("api/sql/catalog");
  const examples = useData("api/sql/examples");
  const schemas = catalog.data?.schemas ?? NO_SCHEMAS;
  const tables = useMemo(() => completions(schemas), [schemas]);
  const hands = useRef(null);
  const insert = (text) => hands.current?.insert(text);
  const asking = useAsking();
  const [wrong, setWrong] = useState(null);
  const change = (text) => {
    setQuery(text);
    setWrong(null);
  };
  const replace = (text) => {
    change(text);
    hands.current?.set(text);
  };
  // The address leads to a query, it does not run it.
  useEffect(() => replace(asked), [asked]);
  useEffect(() => setWrong(asking.error?.detail?.position ?? null), [asking.error]);
  const run = () => {
    if (query.trim() !== "") {
      go([], { query }, { isReplaced: true });
      asking.run(query);
    }
  };
  if (catalog.error?.status === 403) {
    return html`<h1>SQL</h1><${Failed} error=${catalog.error} />`;
  }
  return html`
    <header class="page-head stack tight">
      <h1>SQL</h1>
      <p class="muted">One query that reads: at most 1,000 rows and 10 seconds. Times are UTC.</p>
    </header>
    <div class="sql">
      <div class="stack">
        <${Examples} examples=${examples.data ?? []} error=${examples.error} choose=${replace} />
        <${Editor} value=${query} change=${change} run=${run} tables=${tables} wrong=${wrong} hands=${hands}
          label="Query" />
        <div class="row">
          <button type="button" class="primary" disabled=${query.trim() === ""} onClick=${run}>
            Run
          </button>
          ${asking.isRunning && html`<button type="button" onClick=${asking.cancel}>Cancel</button>`}
        </div>
        <${Outcome} asking=${asking} query=${query} lookAt=${(position) => hands.current?.go(position)} />
      </div>
      <aside class="stack">
        <${AsOf} schemas=${schemas} insert=${insert} />
        <${Catalog} state=${catalog} insert=${insert} />
      </aside>
    </div>
  `;
}

// One query at a time: {isRunning, answer, error, isCancelled, run(query), cancel()}; `error.query` is what was asked.
function useAsking() {
  const [state, setState] = useState({});
  const aborter = useRef(null);
  useEffect(() => () => aborter.current?.abort(), []);
  const run = async (query) => {
    aborter.current?.abort();
    const own = new AbortController();
    aborter.current = own;
    setState({ isRunning: true });
    try {
      const answer = await post("api/sql/run", { query }, { signal: own.signal });
      setState({ answer });
    } catch (error) {
      if (aborter.current === own) {
        setState(own.signal.aborted ? { isCancelled: true } : { error, query });
      }
    }
  };
  return { ...state, run, cancel: () => aborter.current?.abort() };
}

function Examples({ examples, error, choose }) {
  const names = [...new Set(examples.map(({ pipeline }) => pipeline))];
  const chosen = (event) => {
    choose(examples[Number(event.target.value)].query);
    event.target.value = "";
  };
  if (error) {
    return html`<p class="muted">There are no examples now: ${error.message}</p>`;
  }
  return html`
    <label class="field examples">
      <span>Examples</span>
      <select value="" disabled=${examples.length === 0} onChange=${chosen}>
        <option value="">${examples.length === 0 ? "None: no pipeline has run" : "Start from an example …"}</option>
        ${names.map((name) => html`
          <optgroup key=${name} label=${name}>
            ${examples.map(({ pipeline, title }, place) =>
              pipeline === name && html`<option key=${place} value=${String(place)}>${title}</option>`)}
          </optgroup>
        `)}
      </select>
    </label>
  `;
}

function Outcome({ asking, lookAt }) {
  if (asking.isRunning) {
    return html`<${Loading} lines=${4} />`;
  }
  if (asking.isCancelled) {
    return html`<p role="status">Cancelled. PostgreSQL ends the query after 10 seconds at the latest.</p>`;
  }
  if (asking.error) {
    return html`<${Refused} error=${asking.error} query=${asking.query} lookAt=${lookAt} />`;
  }
  return asking.answer ? html`<${Answer} answer=${asking.answer} />` : null;
}

// What PostgreSQL says of a query: message, detail, hint, and the place.
function Refused({ error, query, lookAt }) {
  const { detail, hint, position } = error.detail ?? {};
  return html`
    <div class="note bad" role="alert">
      <p><strong>${error.message}</strong></p>
      ${detail && html`<p>${detail}</p>`}
      ${hint && html`<p>${hint}</p>`}
      ${position && html`
        <button type="button" class="link" onClick=${() => lookAt(position)}>${placeText(query, position)}</button>
      `}
    </div>
  `;
}

function placeText(query, position) {
  const lines = Array.from(query).slice(0, position - 1).join("").split("\n");
  return `Line ${lines.length}, column ${Array.from(lines.at(-1)).length + 1}`;
}
