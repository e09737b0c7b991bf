// What comes to a topic after a page of its newest messages, nothing left out and nothing twice: each answer says where
// it has ended, and there the next one begins.
import { get } from "../lib/api.js";
import { useEffect, useRef, useState } from "../lib/ui.js";

const EVERY_MS = 2_000;
// When more is there than an answer has.
const AT_ONCE_MS = 100;
const LIMIT = 500;
// Older ones leave the page.
const MOST = 2_000;
const NONE = { messages: [], deleted: [], error: null };

// `page` is where it begins, null if there is nothing to follow; another page or place begins anew. `messages` are
// those that came, the newest first; `deleted` is what retention was faster with.
export function useTail(path, place, page) {
  const scope = JSON.stringify([path, place]);
  const [turned, setTurned] = useState({ scope, isOn: false });
  const [found, setFound] = useState({ ...NONE, page });
  const next = useRef(null);
  const isOn = turned.isOn && turned.scope === scope && page !== null;
  useEffect(() => {
    next.current = page?.next ?? null;
    setFound({ ...NONE, page });
  }, [page]);
  useEffect(() => {
    if (!isOn) {
      return undefined;
    }
    const aborter = new AbortController();
    let timer = null;
    const look = async () => {
      const asked = { ...place, after: JSON.stringify(next.current), limit: LIMIT };
      const answer = await answerOf(path, asked, aborter.signal);
      if (aborter.signal.aborted) {
        return;
      }
      next.current = answer.next ?? next.current;
      setFound((old) => joined(old, answer));
      timer = setTimeout(look, answer.has_newer ? AT_ONCE_MS : EVERY_MS);
    };
    look();
    return () => {
      aborter.abort();
      clearTimeout(timer);
    };
  }, [isOn, scope, page]);
  const current = found.page === page ? found : NONE;
  return {
    ...current,
    isOn,
    isPaused: !isOn && current.messages.length > 0,
    toggle: () => setTurned({ scope, isOn: !isOn }),
  };
}

// An error stays until an answer comes; what came before it stays.
async function answerOf(path, params, signal) {
  try {
    return { ...(await get(path, params, { signal })), error: null };
  } catch (error) {
    return { messages: [], deleted: [], error };
  }
}

function joined(old, answer) {
  return {
    page: old.page,
    messages: [...answer.messages, ...old.messages].slice(0, MOST),
    deleted: [...old.deleted, ...answer.deleted],
    error: answer.error,
  };
}
