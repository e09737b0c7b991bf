// Where in a topic: which partition, from which offset or time on, and whether messages count that are not committed.
import { html, useEffect, useState } from "../lib/ui.js";

// `lead(to)` goes there; what `to` does not name of partition and committed stays.
export function PlaceChooser({ place, partitions, lead }) {
  const [offset, setOffset] = useState("");
  const [at, setAt] = useState("");
  useEffect(() => {
    setOffset(place.offset ?? "");
    setAt(fieldOf(place.time));
  }, [place.offset, place.time]);
  const partition = place.partition ?? (partitions === 1 ? "0" : null);
  const submit = (event) => {
    event.preventDefault();
    lead(offset !== "" && partition !== null ? { partition, offset } : { time: isoOf(at) });
  };
  const numbers = Array.from({ length: partitions ?? 0 }, (_, each) => String(each));
  const choose = (event) => lead({ partition: event.target.value === "" ? null : event.target.value });
  const toggle = (event) => lead({ ...place, committed: event.target.checked ? "false" : null });
  return html`
    <form class="row end" aria-label="Where to read" onSubmit=${submit}>
      <label class="field">
        <span>Partition</span>
        <select value=${place.partition ?? ""} onChange=${choose}>
          <option value="">All</option>
          ${numbers.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
        </select>
      </label>
      <label class="field">
        <span>From offset</span>
        <input type="number" min="0" step="1" inputmode="numeric" value=${offset} disabled=${partition === null}
          placeholder=${partition === null ? "Choose a partition" : ""}
          onInput=${(event) => (setOffset(event.target.value), setAt(""))} />
      </label>
      <label class="field">
        <span>or from time (UTC)</span>
        <input type="datetime-local" step="1" value=${at}
          onInput=${(event) => (setAt(event.target.value), setOffset(""))} />
      </label>
      <button type="submit" disabled=${offset === "" && at === ""}>Show</button>
      <label class="switch">
        <input type="checkbox" checked=${place.committed === "false"} onChange=${toggle} />
        Also aborted and open transactions
      </label>
    </form>
  `;
}

function fieldOf(iso) {
  const date = new Date(iso ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 19);
}

function isoOf(field) {
  return new Date(`${field}Z`).toISOString();
}
