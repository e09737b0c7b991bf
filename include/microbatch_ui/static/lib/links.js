// Where we are, and ways to elsewhere. Inside a page the address is its part behind #: `#/sales/number/table?key=ada`.
import { address } from "./address.js";
import { airflow, leadAirflow, tellAddress } from "./frame.js";
import { html, useEffect, useState } from "./ui.js";

// What stands behind #: `parts` is a list of texts, `params` a URLSearchParams (`get`, `getAll`).
export function route() {
  const [place, query] = cutAt(window.location.hash.replace(/^#\/?/, ""), "?");
  const parts = place.split("/").filter((part) => part !== "").map(decoded);
  return { parts, params: new URLSearchParams(query) };
}

export function useRoute() {
  const [current, setCurrent] = useState(route);
  useEffect(() => {
    const changed = () => {
      tellAddress();
      setCurrent(route());
    };
    changed();
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return current;
}

// The text of an address: params of null are left out, lists repeat their name.
export function path(parts, params = {}) {
  return address(`#/${parts.map(encodeURIComponent).join("/")}`, params);
}

// To another address of this page; with `isReplaced` it takes the place of the current one in the history.
export function go(parts, params = {}, { isReplaced = false } = {}) {
  const hash = path(parts, params);
  if (!isReplaced) {
    window.location.hash = hash;
    return;
  }
  window.history.replaceState(null, "", hash);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

// A link inside this page.
export function Link({ to, params, children, ...others }) {
  return html`<a ...${others} href=${path(to, params)}>${children}</a>`;
}

// A link to another of our pages, in the same frame.
export function PageLink({ page, parts = [], params, children, ...others }) {
  return html`<a ...${others} href=${page + path(parts, params)}>${children}</a>`;
}

// "/dags/sales/runs/manual__…" of ("dags", "sales", "runs", "manual__…")
export function airflowPath(...parts) {
  return `/${parts.map(encodeURIComponent).join("/")}`;
}

// A link to a page of Airflow, such as "/dags/sales"; it leads the whole page there, not our frame.
export function AirflowLink({ to, children, ...others }) {
  const href = new URL(`..${to}`, window.location.href).pathname;
  const lead = (event) => {
    if (airflow !== null) {
      event.preventDefault();
      event.stopPropagation();
      leadAirflow(href);
    }
  };
  return html`<a ...${others} href=${href} onClick=${lead}>${children}</a>`;
}

function cutAt(text, mark) {
  const place = text.indexOf(mark);
  return place < 0 ? [text, ""] : [text.slice(0, place), text.slice(place + 1)];
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
