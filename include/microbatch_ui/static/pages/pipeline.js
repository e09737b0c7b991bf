// One pipeline: how it fares, what it has published, and what lies behind that.
import { useData } from "../lib/api.js";
import { AirflowLink, airflowPath, go, Link, PageLink, useRoute } from "../lib/links.js";
import { Failed, Loaded } from "../lib/states.js";
import { html, useEffect, useState } from "../lib/ui.js";
import { StateBadge, StateNote } from "../parts/badge.js";
import { Batches } from "../parts/batches.js";
import { PipelineFacts } from "../parts/facts.js";
import { Flow } from "../parts/flow.js";
import { Late } from "../parts/late.js";
import { Partitions } from "../parts/partitions.js";
import { Rejects } from "../parts/rejects.js";
import { Results } from "../parts/results.js";
import { Panel, Tabs } from "../parts/tabs.js";

const EVERY_MS = 10_000;
const TABS = [
  { name: "results", title: "Results", Part: Results },
  { name: "batches", title: "Batches", Part: Batches },
  { name: "flow", title: "Flow", Part: Flow },
  { name: "late", title: "Late data", Part: Late },
  { name: "rejects", title: "Dead letters", Part: Rejects },
  { name: "partitions", title: "Partitions", Part: Partitions },
];

export function PipelinePage({ name }) {
  const state = useData(`api/pipelines/${encodeURIComponent(name)}`, {}, { everyMs: EVERY_MS });
  const { params } = useRoute();
  const tab = TABS.find((each) => each.name === params.get("tab")) ?? TABS[0];
  const choose = (chosen) => go([name], chosen === TABS[0].name ? {} : { tab: chosen });
  return html`
    <${Crumbs} />
    <${Title} name=${name} pipeline=${state.data} />
    <${Loaded} state=${state} lines=${8}>
      ${(pipeline) => html`
        <${Head} pipeline=${pipeline} />
        <${Tabs} tabs=${TABS} chosen=${tab.name} choose=${choose} label="About ${name}" />
        <${Panel} name=${tab.name}><${tab.Part} key=${tab.name} pipeline=${pipeline} /><//>
      `}
    <//>
  `;
}

function Crumbs() {
  if (isTabOfDag()) {
    return null;
  }
  return html`<nav aria-label="Where you are" class="crumbs"><${Link} to=${[]}>Pipelines<//></nav>`;
}

// `pipeline` is null as long as only its name is known.
function Title({ name, pipeline }) {
  const dagId = pipeline?.dag_id;
  return html`
    <div class="row spread title">
      <div class="row"><h1>${name}</h1>${pipeline && html`<${StateBadge} state=${pipeline.state} />`}</div>
      ${pipeline && !isTabOfDag() && html`
        <${AirflowLink} class="button" to=${airflowPath("dags", dagId)}>DAG ${dagId}<//>
      `}
    </div>
  `;
}

function Head({ pipeline }) {
  const { source_topic: topic, deadletters_topic: deadLetters } = pipeline;
  return html`
    <header class="page-head stack">
      ${pipeline.description && html`<p class="muted">${pipeline.description}</p>`}
      <${StateNote} pipeline=${pipeline} />
      <div class="card"><${PipelineFacts} pipeline=${pipeline} /></div>
      <div class="row small muted">
        <span>reads <${PageLink} page="topics" parts=${[topic]}>${topic}<//></span>
        <span>dead letters on <${PageLink} page="topics" parts=${[deadLetters]}>${deadLetters}<//></span>
      </div>
      ${pipeline.may_trigger && html`<${ActionsSlot} pipeline=${pipeline} />`}
    </header>
  `;
}

// There Airflow itself shows the DAG around the page, and the page is about its one pipeline.
function isTabOfDag() {
  return window.location.pathname.endsWith("/dag");
}

// What may be started from here is fetched only for those who may start it.
function ActionsSlot({ pipeline }) {
  const [found, setFound] = useState({});
  useEffect(() => {
    import("../parts/actions.js").then(
      (module) => setFound({ Actions: module.Actions }),
      (error) => setFound({ error: new Error(`The actions could not be fetched: ${error.message}`) }),
    );
  }, []);
  if (found.error) {
    return html`<${Failed} error=${found.error} />`;
  }
  return found.Actions ? html`<${found.Actions} pipeline=${pipeline} />` : null;
}
