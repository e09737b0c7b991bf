// A long list that is asked for page by page: what is new, and further back when somebody wants more.
import { get, useData } from "./api.js";
import { useEffect, useState } from "./ui.js";

const NONE = { pages: [], isLoading: false, error: null };

// `state` is that of the newest page, for `Loaded`; `rows` are those of all pages so far (`rowsOf(answer)`); `more`
// asks for the next page by an answer's `next` and is null at the end. Once somebody has gone further back, rows do not
// move any more, until `what` changes (params alone may follow the clock).
export function usePages(path, params, rowsOf, { everyMs = null, what = JSON.stringify([path, params]) } = {}) {
  const [back, setBack] = useState({ ...NONE, what });
  const isBack = back.what === what && back.pages.length > 0;
  const state = useData(path, params, { everyMs: isBack ? null : everyMs });
  useEffect(() => setBack({ ...NONE, what }), [what]);
  const newest = state.data === null ? [] : [state.data];
  const pages = isBack ? back.pages : newest;
  const next = pages.at(-1)?.next ?? null;
  const more = async () => {
    const change = (changes) => setBack((old) => (old.what === what ? { ...old, ...changes } : old));
    change({ isLoading: true, error: null });
    try {
      const page = await get(path, { ...params, before: next });
      change({ isLoading: false, pages: [...pages, page] });
    } catch (error) {
      change({ isLoading: false, error });
    }
  };
  return {
    state,
    rows: pages.flatMap(rowsOf),
    more: next === null ? null : more,
    isLoadingMore: back.isLoading,
    moreError: back.error,
  };
}
