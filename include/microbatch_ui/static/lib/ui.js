// What every page and part is made with: Preact through templates, no build step.
export {
  html, render, useCallback, useEffect, useErrorBoundary, useMemo, useRef, useState,
} from "../vendor/htm-preact.js";
