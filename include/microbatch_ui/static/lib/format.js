// Values as people read them. All times are UTC; null and undefined are a dash.
const NONE = "–";
const STEPS_S = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

// "2026-11-22 06:41:00" of an ISO text (or of milliseconds since the epoch).
export function time(iso) {
  const date = dateOf(iso);
  return date === null ? NONE : date.toISOString().slice(0, 19).replace("T", " ");
}

// "06:41:00"
export function clock(iso) {
  const date = dateOf(iso);
  return date === null ? NONE : date.toISOString().slice(11, 19);
}

// "1,234,567.50": every digit that came of integers and of decimals, which come as texts. A float is rounded to two
// places, a small one to three digits.
export function number(value) {
  if (value === null || value === undefined) {
    return NONE;
  }
  const text = typeof value === "number" && !Number.isInteger(value) ? shortened(value) : String(value);
  const parts = /^(-?)(\d+)(\.\d+)?$/.exec(text);
  return parts ? parts[1] + parts[2].replace(/\B(?=(\d{3})+$)/g, ",") + (parts[3] ?? "") : text;
}

// "3 min 20 s": the two largest units.
export function duration(seconds) {
  if (seconds === null || seconds === undefined) {
    return NONE;
  }
  const sign = seconds < 0 ? "-" : "";
  let left = Math.abs(seconds);
  if (left < 1) {
    return left === 0 ? "0 s" : `${sign}${Math.max(1, Math.round(left * 1000))} ms`;
  }
  left = Math.round(left);
  const first = STEPS_S.findIndex(([, size]) => left >= size);
  const texts = [];
  for (const [unit, size] of STEPS_S.slice(first, first + 2)) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count > 0) {
      texts.push(`${count} ${unit}`);
    }
  }
  return sign + texts.join(" ");
}

// "1.5 KiB"
export function bytes(count) {
  if (count === null || count === undefined) {
    return NONE;
  }
  let value = Number(count);
  let step = 0;
  while (value >= 1024 && step < SIZES.length - 1) {
    value /= 1024;
    step += 1;
  }
  return `${step === 0 ? value : value.toFixed(1)} ${SIZES[step]}`;
}

function dateOf(iso) {
  if (iso === null || iso === undefined) {
    return null;
  }
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? null : date;
}

function shortened(value) {
  return String(Math.abs(value) < 1 ? Number(value.toPrecision(3)) : Number(value.toFixed(2)));
}
