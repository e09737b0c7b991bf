// All pipelines at a glance.
import { useData } from "../lib/api.js";
import { Sparkline } from "../lib/chart.js";
import { AirflowLink, airflowPath, Link } from "../lib/links.js";
import { Empty, Loaded } from "../lib/states.js";
import { html, useEffect, useRef, useState } from "../lib/ui.js";
import { StateBadge, StateNote } from "../parts/badge.js";
import { PipelineFacts } from "../parts/facts.js";

const EVERY_MS = 10_000;
const ORDER = ["stopped", "behind", "new", "healthy"];

export function PipelinesPage() {
  const state = useData("api/pipelines", {}, { everyMs: EVERY_MS });
  const none = html`
    <${Empty} title="No pipeline has run yet">
      A pipeline appears here once its DAG has run: unpause it in <${AirflowLink} to="/dags">Airflow's list of DAGs<//>.
      You see those whose DAG you may see.
    <//>
  `;
  return html`
    <header class="page-head row spread">
      <h1>Pipelines</h1>
      ${state.data && html`<${Counts} pipelines=${state.data} />`}
    </header>
    <${Changes} pipelines=${state.data} />
    <${Loaded} state=${state} isEmpty=${(pipelines) => pipelines.length === 0} empty=${none} lines=${9}>
      ${(pipelines) => html`
        <div class="grid">
          ${pipelines.map((pipeline) => html`<${Card} key=${pipeline.name} pipeline=${pipeline} />`)}
        </div>
      `}
    <//>
  `;
}

function Card({ pipeline }) {
  const { name, dag_id: dagId, sparkline } = pipeline;
  return html`
    <article class="card stack" aria-labelledby="pipeline-${name}">
      <div class="row spread">
        <h2 id="pipeline-${name}"><${Link} to=${[name]}>${name}<//></h2>
        <${StateBadge} state=${pipeline.state} />
      </div>
      <${StateNote} pipeline=${pipeline} />
      <div>
        <${Sparkline} values=${sparkline.values} label=${sparkline.label} />
        <p class="muted small">${sparkline.label}</p>
      </div>
      <${PipelineFacts} pipeline=${pipeline} />
      <div class="row spread small foot">
        <span class="muted wrap">reads <span class="mono">${pipeline.source_topic}</span></span>
        <${AirflowLink} to=${airflowPath("dags", dagId)} aria-label="DAG ${dagId} in Airflow">DAG ${dagId}<//>
      </div>
    </article>
  `;
}

function Counts({ pipelines }) {
  const counts = ORDER.map((state) => [state, pipelines.filter((pipeline) => pipeline.state === state).length]);
  return html`
    <ul class="row plain" aria-label="Pipelines by state">
      ${counts.filter(([, count]) => count > 0).map(
        ([state, count]) => html`<li key=${state} class="row">${count} <${StateBadge} state=${state} /></li>`,
      )}
    </ul>
  `;
}

// Says, to those who do not see it, which pipelines have another state than at the last look; otherwise it is silent.
function Changes({ pipelines }) {
  const last = useRef(null);
  const [text, setText] = useState("");
  useEffect(() => {
    if (pipelines === null) {
      return;
    }
    const now = new Map(pipelines.map((pipeline) => [pipeline.name, pipeline.state]));
    const before = last.current ?? now;
    const changed = [...now].filter(([name, state]) => before.has(name) && before.get(name) !== state);
    last.current = now;
    if (changed.length > 0) {
      setText(changed.map(([name, state]) => `${name} is ${state}`).join(", "));
    }
  }, [pipelines]);
  return html`<p class="unseen" aria-live="polite">${text}</p>`;
}
