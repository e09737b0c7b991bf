// An editor of SQL: CodeMirror, fetched when it is needed, with a way out for the keyboard (Escape, then Tab).
import { Failed, Loading } from "../lib/states.js";
import { html, useEffect, useRef, useState } from "../lib/ui.js";

const SCRIPTS = ["codemirror", "codemirror-sql", "codemirror-hint", "codemirror-sql-hint"];
const STYLES = ["vendor/codemirror.css", "vendor/codemirror-hint.css", "parts/editor.css"];
const SIMPLE = /^[a-z_][a-z0-9_$]*$/;

let fetching = null;

// It begins with `value` and tells `change(text)`; no text comes back: somebody may type faster than pages are drawn.
// `run()` is called by Ctrl+Enter. `tables` (see `completions`) are completed. `wrong` marks the character of that
// number (1 is the first, as PostgreSQL counts). `hands` is a ref: once the editor is there it has {set(text),
// insert(text), go(position)}.
export function Editor({ value, change, run, tables, wrong = null, label, hands }) {
  const [state, setState] = useState({});
  useEffect(() => {
    fetchAll().then(
      () => setState({ isThere: true }),
      (error) => setState({ error }),
    );
  }, []);
  if (state.error) {
    return html`
      <div class="stack tight">
        <${Failed} error=${state.error} />
        <textarea rows="10" aria-label=${label} value=${value} onInput=${(event) => change(event.target.value)} />
      </div>
    `;
  }
  if (!state.isThere) {
    return html`<${Loading} lines=${6} />`;
  }
  return html`
    <${Mirror} value=${value} change=${change} run=${run} tables=${tables} wrong=${wrong} label=${label}
      hands=${hands} />
  `;
}

function Mirror({ value, change, run, tables, wrong, label, hands }) {
  const box = useRef(null);
  const mirror = useRef(null);
  const now = useRef({});
  now.current = { change, run, tables };
  useEffect(() => {
    const made = window.CodeMirror(box.current, {
      value,
      mode: "text/x-pgsql",
      lineNumbers: true,
      lineWrapping: true,
      indentUnit: 4,
      viewportMargin: Infinity,
      screenReaderLabel: label,
      extraKeys: keys(() => now.current),
      hintOptions: { hint: (editor) => hints(editor, now.current.tables), completeSingle: false },
    });
    made.getInputField().setAttribute("aria-describedby", "editor-keys");
    made.on("change", () => now.current.change(made.getValue()));
    made.on("inputRead", (editor, { text }) => text[0] === "." && editor.showHint());
    // Its keys are those for typing again once it is left.
    made.on("blur", () => made.setOption("extraKeys", keys(() => now.current)));
    mirror.current = made;
    hands.current = {
      set: (text) => made.getValue() === text || made.setValue(text),
      insert: (text) => {
        made.replaceSelection(text, "end");
        made.focus();
      },
      go: (position) => {
        made.setCursor(placeOf(made, position));
        made.focus();
      },
    };
    return () => {
      hands.current = null;
    };
  }, []);
  useEffect(() => markWrong(mirror.current, wrong), [wrong]);
  return html`
    <div class="stack tight">
      <div class="editor" ref=${box}></div>
      <p class="muted small" id="editor-keys">
        Ctrl+Enter runs, Ctrl+Space completes; Escape and then Tab leaves the editor.
      </p>
    </div>
  `;
}

function keys(handlers) {
  return {
    "Ctrl-Enter": () => handlers().run(),
    "Cmd-Enter": () => handlers().run(),
    "Ctrl-Space": (editor) => editor.showHint(),
    Tab: (editor) => (editor.somethingSelected() ? editor.indentSelection("add") : editor.execCommand("insertSoftTab")),
    "Shift-Tab": "indentLess",
    // What has no command is left to the browser, for which Tab leads to what comes next.
    Esc: (editor) => editor.setOption("extraKeys", { ...keys(handlers), Tab: false, "Shift-Tab": false }),
  };
}

// Tables of the catalog and the columns of the first one that the query names.
function hints(editor, tables) {
  const words = editor.getValue().match(/[\w$.]+/g) ?? [];
  const defaultTable = words.find((word) => Object.hasOwn(tables, word));
  return window.CodeMirror.hint.sql(editor, { tables, defaultTable, disableKeywords: true });
}

// What completes: {name: {text, columns}}; `public` needs no name of its schema.
export function completions(schemas) {
  const found = {};
  for (const schema of schemas) {
    for (const { name, columns } of schema.tables) {
      const parts = schema.name === "public" ? [name] : [schema.name, name];
      found[parts.join(".")] = { text: parts.map(quoted).join("."), columns: columns.map((each) => quoted(each.name)) };
    }
  }
  return found;
}

export function quoted(name) {
  return SIMPLE.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function markWrong(editor, wrong) {
  if (wrong === null) {
    return undefined;
  }
  const start = placeOf(editor, wrong);
  const word = editor.findWordAt(start);
  const end = word.head.ch > start.ch ? word.head : { line: start.line, ch: start.ch + 1 };
  const mark = editor.markText(start, end, { className: "wrong" });
  return () => mark.clear();
}

// PostgreSQL counts characters, JavaScript units of UTF-16.
function placeOf(editor, position) {
  const before = Array.from(editor.getValue()).slice(0, position - 1).join("");
  return editor.posFromIndex(before.length);
}

function fetchAll() {
  fetching ??= (async () => {
    STYLES.forEach(addStyle);
    for (const name of SCRIPTS) {
      await addScript(`static/vendor/${name}.js`);
    }
  })();
  fetching.catch(() => {
    fetching = null;
  });
  return fetching;
}

function addStyle(name) {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = `static/${name}`;
  document.head.append(link);
}

function addScript(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`The editor could not be fetched (${address}): reload the page`));
    document.head.append(script);
  });
}
