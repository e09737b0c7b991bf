// Shows the page that the address names: its last part says which, and what stands behind # which part of it.
import { useData } from "./lib/api.js";
import { takeAddress } from "./lib/frame.js";
import { go, useRoute } from "./lib/links.js";
import { Empty, Failed, Loaded, Loading } from "./lib/states.js";
import { followTheme } from "./lib/theme.js";
import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./lib/ui.js";

const PAGES = { pipelines: Pipelines, topics: Topics, sql: Sql, dag: OfDag };

function App() {
  const page = window.location.pathname.split("/").at(-1);
  const { parts, params } = useRoute();
  const root = useRef(null);
  useFocusOfPlace(parts.join("/"), root);
  const [error, reset] = useErrorBoundary();
  if (error) {
    return html`<${Failed} error=${error} retry=${reset} />`;
  }
  return html`<div ref=${root} class="place" tabindex="-1"><${PAGES[page]} parts=${parts} params=${params} /></div>`;
}

function Pipelines({ parts, params }) {
  if (parts.length === 0) {
    return html`<${Lazy} file="pipelines" name="PipelinesPage" />`;
  }
  return html`<${OfPipeline} parts=${parts} params=${params} />`;
}

function OfPipeline({ parts, params }) {
  const [name, kind, table] = parts;
  if (kind === "number") {
    const props = { pipeline: name, table, window: params.get("window"), keys: params.getAll("key") };
    return html`<${Lazy} key=${parts.join("/")} file="number" name="NumberPage" props=${props} />`;
  }
  return html`<${Lazy} key=${name} file="pipeline" name="PipelinePage" props=${{ name }} />`;
}

// The tab on a DAG: the pipeline that it runs.
function OfDag({ parts, params }) {
  const dagId = new URLSearchParams(window.location.search).get("dag_id");
  const state = useData(parts.length === 0 ? "api/pipelines" : null);
  const own = state.data?.find((pipeline) => pipeline.dag_id === dagId);
  useEffect(() => {
    if (own && parts.length === 0) {
      go([own.name], {}, { isReplaced: true });
    }
  }, [own, parts.length]);
  if (parts.length > 0) {
    return html`<${OfPipeline} parts=${parts} params=${params} />`;
  }
  const none = html`
    <${Empty} title="This DAG runs no pipeline">A pipeline appears here once a run of its DAG has registered it.<//>
  `;
  return html`<${Loaded} state=${state} isEmpty=${() => !own} empty=${none}>${() => html`<${Loading} />`}<//>`;
}

function Topics() {
  return html`<${Lazy} file="topics" name="TopicsPage" />`;
}

function Sql() {
  return html`<${Lazy} file="sql" name="SqlPage" />`;
}

// A page of `pages/`, fetched when it is needed.
function Lazy({ file, name, props = {} }) {
  const [state, setState] = useState({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isWanted = true;
    const address = `./pages/${file}.js${turn > 0 ? `?again=${turn}` : ""}`;
    import(address).then(
      (module) => isWanted && setState({ file, Page: module[name] }),
      (error) => isWanted && setState({ file, error: new Error(`The page could not be fetched: ${error.message}`) }),
    );
    return () => {
      isWanted = false;
    };
  }, [file, name, turn]);
  if (state.file !== file) {
    return html`<${Loading} />`;
  }
  if (state.error) {
    return html`<${Failed} error=${state.error} retry=${() => setTurn(turn + 1)} />`;
  }
  return html`<${state.Page} ...${props} />`;
}

// Whoever reads with the keyboard or by ear begins at the top of the place that a link has led to.
function useFocusOfPlace(place, root) {
  const last = useRef(place);
  useEffect(() => {
    if (last.current === place) {
      return;
    }
    last.current = place;
    window.scrollTo(0, 0);
    root.current?.focus({ preventScroll: true });
  }, [place]);
}

takeAddress();
followTheme();
render(html`<${App} />`, document.getElementById("app"));
