// Numbers as pictures: over time (uPlot), as a small line, as bars.
import uPlot from "../vendor/uplot.js";
import { number, time } from "./format.js";
import { useTheme } from "./theme.js";
import { html, useEffect, useRef } from "./ui.js";

// As many as there are colours `--chart-1`… in style.css. Lines differ by their dashes, too.
const COLOURS = 8;
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
const DAY_S = 86400;
const HALF_HOUR_S = 1800;
// With more marks than that, their lines would hide the others.
const MOST_LINES = 12;

// Lines over `times` (seconds since the epoch, ascending). `series`: [{label, values}], a value of null is a gap.
// `marks`: [{time, label}], drawn as triangles above, few with a line. Dragging calls `onZoom(from, to)` (seconds); a
// click on a point calls `onPoint(place of the series, place of the time)`. `label` says in words what it is.
// A chart is made anew when `times`, `series` or `marks` are other objects: keep them while nothing has changed.
export function TimeChart({ times, series, marks = [], onZoom, onPoint, height = 280, label = "Chart" }) {
  const box = useRef(null);
  const handlers = useRef({});
  handlers.current = { onZoom, onPoint };
  const theme = useTheme();
  useEffect(() => {
    const data = [times, ...series.map(({ values }) => values.map(asNumber))];
    const size = { width: box.current.clientWidth || 600, height };
    const chart = new uPlot(options(series, marks, handlers, size), data, box.current);
    const resized = new ResizeObserver(() => {
      const width = box.current?.clientWidth;
      if (width && width !== chart.width) {
        chart.setSize({ width, height });
      }
    });
    resized.observe(box.current);
    return () => {
      resized.disconnect();
      chart.destroy();
    };
  }, [times, series, marks, height, theme]);
  const notes = marks.map((mark, place) => html`<li key=${place}>${time(mark.time * 1000)}: ${mark.label}</li>`);
  return html`
    <figure class="chart" aria-label=${label}>
      <div ref=${box} role="img" aria-label=${summary(label, times, series)}></div>
      ${marks.length > 0 && html`<ul class="unseen">${notes}</ul>`}
    </figure>
  `;
}

// A line without axes.
export function Sparkline({ values, label, width = 220, height = 44 }) {
  const numbers = values.map(asNumber);
  const known = numbers.filter((value) => value !== null);
  if (known.length < 2) {
    return html`<div class="sparkline muted" style=${{ height: `${height}px` }}>Not enough to draw yet</div>`;
  }
  const [least, most, last] = [Math.min(...known), Math.max(...known), known.at(-1)].map(number);
  const text = `${label}: from ${least} to ${most}, last ${last}`;
  return html`
    <svg class="sparkline" role="img" aria-label=${text} viewBox="0 0 ${width} ${height}" preserveAspectRatio="none">
      <title>${text}</title>
      ${pieces(numbers, width, height).map(
        (points, place) => html`<polyline key=${place} points=${points} vector-effect="non-scaling-stroke" />`,
      )}
    </svg>
  `;
}

// A bar each, lying; `label` says what they count.
export function BarChart({ labels, values, height = 26, label = "Chart" }) {
  const most = Math.max(1, ...values.map(Number));
  return html`
    <dl class="bars" aria-label=${label}>
      ${labels.map((name, place) => html`
        <div key=${place} style=${{ minHeight: `${height}px` }}>
          <dt>${name}</dt>
          <dd>
            <span class="bar-fill" style=${{ width: `${(100 * Number(values[place])) / most}%` }}></span>
            <span>${number(values[place])}</span>
          </dd>
        </div>
      `)}
    </dl>
  `;
}

function options(series, marks, handlers, size) {
  const text = colour("--muted");
  const grid = { stroke: colour("--line-soft"), width: 1 };
  const ticks = { ...grid, size: 4 };
  let focused = null;
  return {
    ...size,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { drag: { x: true, y: false, setScale: false }, focus: { prox: 24 }, points: { size: 8 } },
    focus: { alpha: 0.35 },
    legend: { live: true },
    scales: { x: { range: (chart, from, to) => (chart.data[0].length === 1 ? around(from) : [from, to]) } },
    series: [{ label: "Time", value: (_, at) => (at === null ? "–" : time(at * 1000)) }, ...series.map(line)],
    axes: [
      { stroke: text, grid, ticks, values: timeTexts, space: 70 },
      { stroke: text, grid, ticks, size: widthOf, values: (_, splits) => splits.map(number) },
    ],
    hooks: {
      setSelect: [(chart) => zoomed(chart, handlers)],
      ready: [(chart) => chart.over.addEventListener("click", () => clicked(chart, focused, handlers))],
      setSeries: [(_, place, { focus }) => (focused = focus === false ? null : place)],
      setCursor: [showNewest],
      draw: [(chart) => drawMarks(chart, marks)],
    },
  };
}

function line({ label, values }, place) {
  const stroke = colour(`--chart-${(place % COLOURS) + 1}`);
  const isSparse = values.length < 60;
  return {
    label,
    stroke,
    width: 2,
    dash: DASHES[Math.floor(place / 2) % DASHES.length],
    points: { show: isSparse, size: 6, fill: stroke },
    value: (_, value) => number(value),
  };
}

// Away from the picture the legend has the newest values.
function showNewest(chart) {
  const newest = chart.data[0].length - 1;
  if ((chart.cursor.idx ?? null) === null && chart.legend.idx !== newest) {
    chart.setLegend({ idx: newest }, false);
  }
}

// uPlot would show years beside a time that is the only one.
function around(at) {
  return [at - HALF_HOUR_S, at + HALF_HOUR_S];
}

function zoomed(chart, handlers) {
  const { left, width } = chart.select;
  if (width < 4) {
    return;
  }
  const [from, to] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  handlers.current.onZoom?.(from, to);
}

// The line nearest to the pointer is the focused one.
function clicked(chart, focused, handlers) {
  const { idx } = chart.cursor;
  if (focused > 0 && idx !== null && idx !== undefined && chart.data[focused][idx] !== null) {
    handlers.current.onPoint?.(focused - 1, idx);
  }
}

function drawMarks(chart, marks) {
  const { ctx, bbox } = chart;
  const mark = 5 * devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour("--mark");
  ctx.fillStyle = ctx.strokeStyle;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const each of marks) {
    const left = chart.valToPos(each.time, "x", true);
    if (left < bbox.left || left > bbox.left + bbox.width) {
      continue;
    }
    if (marks.length <= MOST_LINES) {
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.globalAlpha = 0.5;
      ctx.stroke();
      ctx.globalAlpha = 1;
    }
    ctx.beginPath();
    ctx.moveTo(left - mark, bbox.top);
    ctx.lineTo(left + mark, bbox.top);
    ctx.lineTo(left, bbox.top + 1.6 * mark);
    ctx.fill();
  }
  ctx.restore();
}

// The clock of each split, and its day below where a day begins.
function timeTexts(_chart, splits, _axis, _space, step) {
  let day = null;
  return splits.map((at) => {
    const text = new Date(at * 1000).toISOString();
    const isNewDay = text.slice(0, 10) !== day;
    day = text.slice(0, 10);
    if (step >= DAY_S) {
      return text.slice(5, 10);
    }
    const clock = text.slice(11, step < 60 ? 19 : 16);
    return isNewDay ? `${clock}\n${text.slice(5, 10)}` : clock;
  });
}

function widthOf(chart, texts) {
  const longest = Math.max(0, ...(texts ?? []).map((text) => String(text).length));
  return Math.max(40, 18 + longest * 7);
}

function pieces(values, width, height) {
  const known = values.filter((value) => value !== null);
  const low = Math.min(...known);
  const span = Math.max(...known) - low;
  const found = [[]];
  values.forEach((value, place) => {
    if (value === null) {
      found.push([]);
      return;
    }
    const left = (place / (values.length - 1)) * width;
    const top = span === 0 ? height / 2 : height - 3 - ((value - low) / span) * (height - 6);
    found.at(-1).push(`${left.toFixed(1)},${top.toFixed(1)}`);
  });
  return found.filter((points) => points.length > 0).map((points) => points.join(" "));
}

function summary(label, times, series) {
  if (times.length === 0) {
    return `${label}: nothing`;
  }
  const span = `${time(times[0] * 1000)} to ${time(times.at(-1) * 1000)} UTC`;
  return `${label}: ${series.map((each) => each.label).join(", ")}; ${span}`;
}

// Decimals come as texts; a picture does not need all their digits.
function asNumber(value) {
  return value === null || value === undefined ? null : Number(value);
}

// What a custom property of style.css is now, as a canvas understands it.
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
