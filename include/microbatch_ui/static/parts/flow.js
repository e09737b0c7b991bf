// What becomes of a message: boxes and arrows; each box says in words where it leads, for those who hear it.
import { html, useMemo } from "../lib/ui.js";

const WIDTH = 190;
const ACROSS = 60;
const BETWEEN = 22;
const LINE = 17;
const ROUND = 10;
// What fits into a line of a detail, and of a name.
const LETTERS = 23;
const NAME_LETTERS = 19;
const MOST_LINES = 12;
const KINDS = {
  topic: "Topic", event: "Event", transform: "Transform", stream: "Stream", window: "Window", pairs: "Pairs",
  table: "Table", dead_letters: "Dead letters",
};

export function Flow({ pipeline }) {
  const { boxes, lines, width, height } = useMemo(() => placed(pipeline.flow), [pipeline.flow]);
  return html`
    <section class="stack tight" aria-label="Flow of ${pipeline.name}">
      <h2>From the source to the results</h2>
      <div class="card flow-box" role="region" aria-label="Picture of the flow" tabindex="0">
        <div class="flow" style=${{ width: `${width}px`, height: `${height}px` }}>
          <svg aria-hidden="true" width=${width} height=${height}>
            <defs>
              <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
                <path d="M0 0 8 4 0 8z" />
              </marker>
            </defs>
            ${lines.map((line) => html`<path key=${line} class="flow-edge" d=${line} marker-end="url(#arrow)" />`)}
          </svg>
          <ol>${boxes.map((box) => html`<${Box} key=${box.id} box=${box} />`)}</ol>
        </div>
      </div>
    </section>
  `;
}

function Box({ box }) {
  const { kind, name, detail, left, top, height, leads } = box;
  const style = { left: `${left}px`, top: `${top}px`, width: `${WIDTH}px`, height: `${height}px` };
  return html`
    <li class="flow-node ${kind}" style=${style}>
      <span class="flow-kind">${KINDS[kind] ?? kind}</span>
      <strong title=${name}>${name}</strong>
      ${detail && html`<span class="flow-detail" title=${detail}>${detail}</span>`}
      ${leads.length > 0 && html`<span class="unseen">leads to ${leads.join("; ")}</span>`}
    </li>
  `;
}

// Boxes in columns: each stands one further than the furthest that leads to it. Dead letters stand below all others.
function placed(flow) {
  const nodes = flow.nodes.map((node) => {
    const detail = detailOf(node, flow);
    return { ...node, detail, height: heightOf(node.name, detail), leads: leadsOf(node, flow) };
  });
  const depths = depthsOf(flow);
  const columns = Map.groupBy(nodes.filter(({ kind }) => kind !== "dead_letters"), ({ id }) => depths.get(id));
  const height = Math.max(0, ...[...columns.values()].map(heightOfAll));
  const boxes = new Map();
  const place = (node, top) => boxes.set(node.id, { ...node, left: depths.get(node.id) * (WIDTH + ACROSS), top });
  for (const column of columns.values()) {
    let top = (height - heightOfAll(column)) / 2;
    for (const node of column) {
      place(node, top);
      top += node.height + BETWEEN;
    }
  }
  const below = nodes.filter(({ kind }) => kind === "dead_letters");
  below.forEach((node) => place(node, height + BETWEEN));
  return {
    boxes: [...boxes.values()],
    lines: [...new Set(flow.edges.map(([from, to]) => lineOf(boxes.get(from), boxes.get(to))))],
    width: (Math.max(0, ...depths.values()) + 1) * (WIDTH + ACROSS) - ACROSS,
    height: height + below.reduce((sum, node) => sum + BETWEEN + node.height, 0),
  };
}

// A fact a line, first what comes there (arrows may come from afar, so it does not stand beside them).
function detailOf({ id, kind, detail }, { nodes, edges }) {
  const incoming = edges.filter(([, to, label]) => to === id && label);
  const named = ([from, , label]) => `${nodes.find((node) => node.id === from).name}: ${label}`;
  const comes = incoming.map((edge) => (kind === "dead_letters" ? named(edge) : edge[2]));
  return [...comes, ...(detail ?? "").split("; ")].filter((line) => line !== "").join("\n");
}

function depthsOf({ nodes, edges }) {
  const depths = new Map(nodes.map((node) => [node.id, 0]));
  for (let round = 0; round < nodes.length; round += 1) {
    for (const [from, to] of edges) {
      depths.set(to, Math.max(depths.get(to), depths.get(from) + 1));
    }
  }
  return depths;
}

function leadsOf(node, { nodes, edges }) {
  return edges
    .filter(([from]) => from === node.id)
    .map(([, to, label]) => `${nodes.find(({ id }) => id === to).name}${label ? ` (${label})` : ""}`);
}

// Rightwards; to dead letters down first, so that the line does not cross what stands between.
function lineOf(start, end) {
  const y2 = end.top + end.height / 2;
  if (end.kind === "dead_letters") {
    const x1 = start.left + WIDTH / 2;
    return `M${x1} ${start.top + start.height}V${y2 - ROUND}Q${x1} ${y2} ${x1 + ROUND} ${y2}H${end.left}`;
  }
  const [x1, y1] = [start.left + WIDTH, start.top + start.height / 2];
  const middle = (x1 + end.left) / 2;
  return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${end.left} ${y2}`;
}

function heightOfAll(column) {
  return column.reduce((sum, node) => sum + node.height + BETWEEN, -BETWEEN);
}

function heightOf(name, detail) {
  const lines = detail.split("\n").reduce((sum, line) => sum + Math.ceil(line.length / LETTERS), 0);
  return 38 + (LINE + 2) * Math.ceil(name.length / NAME_LETTERS) + LINE * Math.min(MOST_LINES, lines);
}
