// Light or dark as Airflow's page is that holds ours; alone, as the system is.
import { airflow } from "./frame.js";
import { useEffect, useState } from "./ui.js";

const SYSTEM = window.matchMedia("(prefers-color-scheme: dark)");
const CHANGED = "microbatch:theme";

// Sets `data-theme` on our <html>, now and whenever Airflow's changes.
export function followTheme() {
  set();
  SYSTEM.addEventListener("change", set);
  if (airflow !== null) {
    const options = { attributes: true, attributeFilter: ["class", "data-theme", "style"] };
    new MutationObserver(set).observe(airflow.document.documentElement, options);
  }
}

// "light" or "dark"; what draws colours by itself draws again when it changes.
export function useTheme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  useEffect(() => {
    const changed = () => setTheme(document.documentElement.dataset.theme);
    changed();
    document.addEventListener(CHANGED, changed);
    return () => document.removeEventListener(CHANGED, changed);
  }, []);
  return theme;
}

function set() {
  const theme = airflowsTheme() ?? (SYSTEM.matches ? "dark" : "light");
  if (document.documentElement.dataset.theme !== theme) {
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event(CHANGED));
  }
}

function airflowsTheme() {
  const root = airflow?.document.documentElement;
  return ["dark", "light"].find(
    (theme) => root?.classList.contains(theme) || root?.dataset.theme === theme || root?.style.colorScheme === theme,
  );
}
