// Airflow's window if our page is a frame of it, else null. The frame is sandboxed but of the same origin: it may not
// navigate Airflow's window, but it may use its history as Airflow's own links do.
export const airflow = windowOfAirflow();

// Airflow's page takes the address of ours (its part behind #), so that a reload or a bookmark of it comes back here.
export function tellAddress() {
  if (airflow !== null && airflow.location.hash !== window.location.hash) {
    const { pathname, search } = airflow.location;
    airflow.history.replaceState(airflow.history.state, "", pathname + search + window.location.hash);
  }
}

// The other way round, at the start: Airflow gives a frame its address without the part behind #.
export function takeAddress() {
  if (airflow !== null && window.location.hash === "" && airflow.location.hash.startsWith("#/")) {
    window.history.replaceState(null, "", airflow.location.hash);
  }
}

// Leads Airflow's page to another address of it. Its router reads the address when the history says that it has
// changed, and counts its entries in `idx`.
export function leadAirflow(href) {
  const state = { usr: null, key: "microbatch", idx: (airflow.history.state?.idx ?? 0) + 1 };
  airflow.history.pushState(state, "", href);
  airflow.dispatchEvent(new airflow.PopStateEvent("popstate", { state }));
}

function windowOfAirflow() {
  try {
    return window.parent !== window && window.parent.document ? window.parent : null;
  } catch {
    return null;
  }
}
