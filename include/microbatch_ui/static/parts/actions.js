// Actions: a run of the pipeline's DAG, shown before it is asked for. Airflow's own API starts it, under its own rights.
import { html, useState } from "../lib/ui.js";
import { get } from "../lib/api.js";
import { number, time } from "../lib/format.js";
import { AirflowLink } from "../lib/links.js";
import { Failed, Loading } from "../lib/states.js";

const MODES = {
  "catch up": { title: "Catch up now", about: "Reads all that no run has read yet, without waiting for the schedule." },
  reprocess: {
    title: "Reprocess a range",
    about: "Does all batches again that hold messages of the range, with the code of today, and corrects their results.",
  },
  interval: {
    title: "Read a range",
    about: "Reads what no run has read yet of the range, such as history from before the pipeline's start.",
  },
};

/** Buttons for what may be done with a pipeline, and the plan of the chosen one. */
export function Actions({ pipeline }) {
  const [mode, setMode] = useState(null);
  return html`
    <section class="card actions" aria-labelledby="actions-title">
      <h2 id="actions-title">Actions</h2>
      <div class="buttons">
        ${Object.entries(MODES).map(
          ([name, { title }]) => html`
            <button type="button" aria-pressed=${mode === name} onClick=${() => setMode(mode === name ? null : name)}>
              ${title}
            </button>
          `,
        )}
      </div>
      ${mode && html`<${Action} key=${mode} pipeline=${pipeline} mode=${mode} close=${() => setMode(null)} />`}
    </section>
  `;
}

function Action({ pipeline, mode, close }) {
  const hasRange = mode !== "catch up";
  const [range, setRange] = useState(lastHour);
  const [plan, setPlan] = useState({});
  const [run, setRun] = useState({});
  const params = hasRange ? { mode, from: instant(range.from), to: instant(range.to) } : { mode };

  const show = (event) => {
    event?.preventDefault();
    setRun({});
    attempt(setPlan, () => get(`api/pipelines/${encodeURIComponent(pipeline.name)}/plan`, params));
  };
  const start = () => attempt(setRun, () => trigger(pipeline.dag_id, params));

  return html`
    <p>${MODES[mode].about}</p>
    <form onSubmit=${show}>
      ${hasRange && html`<${Range} range=${range} onChange=${(changed) => (setRange(changed), setPlan({}))} />`}
      <button type="submit">Show what it would do</button>
      <button type="button" onClick=${close}>Close</button>
    </form>
    <div aria-live="polite">
      ${plan.isBusy && html`<${Loading} />`}
      ${plan.error && html`<${Failed} error=${plan.error} retry=${show} />`}
      ${plan.data && html`<${Plan} plan=${plan.data} mode=${mode} />`}
      ${plan.data && !plan.data.refused && !run.data &&
      html`<button type="button" class="primary" disabled=${run.isBusy} onClick=${start}>
        Start a run of ${pipeline.dag_id}
      </button>`}
      ${run.error && html`<${Failed} error=${run.error} retry=${start} />`}
      ${run.data &&
      html`<p role="status">
        Airflow has queued${" "}
        <${AirflowLink} to=${`/dags/${encodeURIComponent(pipeline.dag_id)}/runs/${encodeURIComponent(run.data)}`}>
          ${run.data}<//>.
      </p>`}
    </div>
  `;
}

function Range({ range, onChange }) {
  const bound = (name, title) => html`
    <label>
      ${title}${" "}
      <input
        type="datetime-local"
        step="1"
        required
        value=${range[name]}
        onInput=${(event) => onChange({ ...range, [name]: event.target.value })}
      />
    </label>
  `;
  return html`<fieldset>
    <legend>Range, by the messages' Kafka timestamps, in UTC</legend>
    ${bound("from", "From")} ${bound("to", "To (not included)")}
  </fieldset>`;
}

function Plan({ plan, mode }) {
  if (plan.refused) {
    return html`<p class="refused" role="alert">This run would fail: ${plan.refused}</p>`;
  }
  if (mode === "reprocess") {
    return html`
      <p>${count(plan.batches, "batch", "batches")} with ${count(plan.messages, "message")} would be done again.</p>
      <ul>
        ${plan.redoes.map(
          (batch) => html`<li>
            batch ${batch.batch_id} of ${time(batch.batch_time)}: ${count(batch.messages, "message")}, ${batch.ranges}
          </li>`,
        )}
        ${plan.batches > plan.redoes.length && html`<li>and ${number(plan.batches - plan.redoes.length)} more</li>`}
      </ul>
    `;
  }
  return html`
    <p>At most ${count(plan.messages, "message")} would be read${plan.messages ? ":" : "; the run would find nothing new."}</p>
    <ul>
      ${plan.reads.map(
        (item) => html`<li>partition ${item.partition}, offsets ${item.start} to ${item.end - 1}</li>`,
      )}
    </ul>
  `;
}

function count(many, one, others = `${one}s`) {
  return `${number(many)} ${Number(many) === 1 ? one : others}`;
}

async function attempt(set, work) {
  set({ isBusy: true });
  try {
    set({ data: await work() });
  } catch (error) {
    set({ error });
  }
}

/** Ask Airflow for a run; gives its id. */
async function trigger(dagId, conf) {
  // Airflow's API lies beside this app, whatever prefix both have.
  const address = new URL(`../api/v2/dags/${encodeURIComponent(dagId)}/dagRuns`, document.baseURI);
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ logical_date: null, conf }),
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const detail = typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail ?? answer.statusText);
    throw new Error(`Airflow did not start a run of ${dagId} (${answer.status}): ${detail}`);
  }
  return body.dag_run_id;
}

function lastHour() {
  const now = Date.now();
  return { from: field(now - 3_600_000), to: field(now) };
}

function field(milliseconds) {
  return new Date(Math.floor(milliseconds / 60_000) * 60_000).toISOString().slice(0, 19);
}

function instant(text) {
  return text && `${text.length === 16 ? `${text}:00` : text}Z`;
}
