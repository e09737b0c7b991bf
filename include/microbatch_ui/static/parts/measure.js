// A measure's value: a number, or the time that a least or greatest one is.
import { number, time } from "../lib/format.js";

export function shownNumber(value) {
  return typeof value === "string" && /^\d{4,}-\d\d-\d\dT/.test(value) ? time(value) : number(value);
}
