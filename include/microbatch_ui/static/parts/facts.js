// The numbers of a pipeline that tell how it fares: the same on its card and on its own page.
import { duration, number, time } from "../lib/format.js";
import { html } from "../lib/ui.js";

export function PipelineFacts({ pipeline }) {
  const { complete_until: until, delay_s: delay } = pipeline;
  const since = delay === null ? "no window has closed yet" : `${duration(delay)} ago`;
  const rate = "a minute, last hour";
  const isCounted = pipeline.corrections !== null;
  return html`
    <dl class="facts">
      <${Fact} name="Complete until (UTC)" value=${time(until)} note=${since} />
      <${Fact} name="Not read yet" value=${number(pipeline.lag)} note="messages" />
      <${Fact} name="Messages" value=${rateText(pipeline.messages_per_minute)} note=${rate} />
      <${Fact} name="Dead letters" value=${rateText(pipeline.rejects_per_minute)} note=${rate} />
      <${Fact} name="Corrections" value=${number(pipeline.corrections)}
        note=${isCounted ? "in the last hour" : "too many results to count them"} />
    </dl>
  `;
}

function rateText(rate) {
  return rate > 0 && rate < 0.01 ? "< 0.01" : number(Math.round(100 * rate) / 100);
}

function Fact({ name, value, note }) {
  return html`<div><dt>${name}</dt><dd>${value}<span class="muted">${note}</span></dd></div>`;
}
