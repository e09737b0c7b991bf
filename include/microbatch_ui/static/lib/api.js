// The app's answers. Paths are relative to the pages: "api/pipelines".
import { address } from "./address.js";
import { useCallback, useEffect, useState } from "./ui.js";

// Not what was asked for. `status` is 0 if there was no answer; `message` is for people; `detail` is as it came.
export class ApiError extends Error {
  constructor(status, message, detail = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.detail = detail;
  }
}

export function get(path, params = {}, { signal } = {}) {
  return ask(address(path, params), { signal });
}

export function post(path, body, { signal } = {}) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

// What stands there, asked again when path or params change, and every `everyMs` while the page is looked at.
// Data stays while it or that of other params is asked for, and when asking again fails (then there is an error too);
// another path has no data yet. A path of null asks nothing.
export function useData(path, params = {}, { everyMs = null } = {}) {
  const asked = path === null ? null : address(path, params);
  const [state, setState] = useState({ path: null, asked: null, turn: 0, data: null, error: null, at: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (asked === null) {
      return undefined;
    }
    const aborter = new AbortController();
    let timer = null;
    const look = async () => {
      const found = await answerOf(asked, aborter.signal);
      if (aborter.signal.aborted) {
        return;
      }
      setState((old) => {
        const isOld = found.error !== null && old.asked === asked;
        const { data, at } = isOld ? old : { data: found.data, at: Date.now() };
        return { path, asked, turn, data, at, error: found.error };
      });
      if (everyMs !== null) {
        timer = setTimeout(lookWhenSeen, everyMs);
      }
    };
    const lookWhenSeen = () => {
      if (!document.hidden) {
        look();
        return;
      }
      document.addEventListener("visibilitychange", look, { once: true, signal: aborter.signal });
    };
    look();
    return () => {
      aborter.abort();
      clearTimeout(timer);
    };
  }, [asked, everyMs, turn]);
  const reload = useCallback(() => setTurn((old) => old + 1), []);
  const isCurrent = state.path === path;
  return {
    data: isCurrent ? state.data : null,
    error: isCurrent && state.asked === asked ? state.error : null,
    at: isCurrent ? state.at : null,
    isLoading: path !== null && (state.asked !== asked || state.turn !== turn),
    reload,
  };
}

async function answerOf(asked, signal) {
  try {
    return { data: await ask(asked, { signal }), error: null };
  } catch (error) {
    return { data: null, error };
  }
}

async function ask(asked, options) {
  let response;
  try {
    response = await fetch(asked, { ...options, credentials: "same-origin", headers: accepting(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new ApiError(0, "Airflow does not answer: check the network, and that its api-server runs");
  }
  const body = await bodyOf(response);
  if (!response.ok) {
    throw new ApiError(response.status, messageOf(response, body), body?.detail ?? null);
  }
  return body;
}

function accepting(headers = {}) {
  return { Accept: "application/json", ...headers };
}

async function bodyOf(response) {
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  try {
    return isJson ? await response.json() : null;
  } catch {
    throw new ApiError(response.status, "The answer was cut off: try again");
  }
}

function messageOf(response, body) {
  if (response.status === 401) {
    return "Your login has ended: reload the page and log in to Airflow again";
  }
  const detail = body?.detail;
  if (typeof detail === "string") {
    return detail;
  }
  if (Array.isArray(detail)) {
    return detail.map((each) => `${(each.loc ?? []).at(-1) ?? "request"}: ${each.msg}`).join("; ");
  }
  return detail?.message ?? `Airflow answered ${response.status} ${response.statusText}: its api-server's log says why`;
}
