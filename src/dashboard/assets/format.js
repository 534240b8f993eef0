// Numbers, times and words as people read them. A missing value is a dash.

const whole = new Intl.NumberFormat("en");

export const count = (value) => (typeof value === "number" ? whole.format(Math.round(value)) : "–");

export function short(value) {
  if (typeof value !== "number") return "–";
  if (value < 10_000) return whole.format(Math.round(value));
  return value < 1e6 ? (value / 1e3).toFixed(1) + " k" : value < 1e9 ? (value / 1e6).toFixed(1) + " M" : (value / 1e9).toFixed(1) + " G";
}

export function money(value) {
  if (typeof value !== "number") return "–";
  const size = Math.abs(value);
  return "$" + value.toFixed(size === 0 || size >= 1 ? 2 : size >= 0.001 ? 4 : 6);
}

export const percent = (value) =>
  typeof value === "number" ? (100 * value).toFixed(value > 0 && value < 0.1 ? 2 : value < 1 ? 1 : 0) + " %" : "–";

export function milliseconds(value) {
  if (typeof value !== "number") return "–";
  if (value < 1) return Math.round(1000 * value) + " µs";
  return value < 10 ? value.toFixed(1) + " ms" : value < 10_000 ? Math.round(value) + " ms" : (value / 1000).toFixed(1) + " s";
}

export const micros = (value) => (typeof value === "number" ? milliseconds(value / 1000) : "–");

export function rate(value) {
  return typeof value === "number" ? value.toFixed(value < 10 ? 1 : 0) : "–";
}

export function duration(seconds) {
  if (typeof seconds !== "number") return "–";
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${Math.floor(seconds) % 60} s` : `${Math.floor(seconds)} s`;
}

export function countdown(seconds) {
  const left = Math.max(0, Math.round(seconds));
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export const time = (at) => (at ? clock.format(new Date(at)) : "–");
export const date = (at) => (at ? day.format(new Date(at)) : "–");
export const when = (at) => (at ? `${date(at)}, ${time(at)}` : "–");

/** `superseded_by_other` as words. */
export const words = (name) => String(name ?? "–").replaceAll("_", " ");
