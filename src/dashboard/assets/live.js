// One poll for everybody: status and the newest points every few seconds, events as they come. Slower while the page is hidden, and
// slower still while nobody answers.

import { get } from "./api.js";

const PERIOD_MS = 2000;
const HIDDEN_MS = 30_000;
const BACK_OFF_MS_MAX = 30_000;
const POINTS_MAX = 720;
const EVENTS_MAX = 500;
const SERIES_EVERY_MS = 5000;

export const live = {
  status: null,
  series: null,
  events: [],
  /** Requests a second between the last two polls. */
  rate: null,
  state: "connecting",
};

const listeners = new Set();
let failures = 0;
let before = null;
let seriesAt = -Infinity;
let timer = 0;
let feed = null;

/** Calls `listener` now and with everything new; answers what stops it. `what` is `status`, `series`, `events` or `state`. */
export function watch(listener) {
  listeners.add(listener);
  for (const what of ["state", "status", "series", "events"]) listener(what);
  return () => listeners.delete(listener);
}

const tell = (what) => listeners.forEach((listener) => listener(what));

export function begin() {
  look();
  listen();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    clearTimeout(timer);
    look();
    if (feed.readyState === EventSource.CLOSED) listen();
  });
}

/** Looks at once, after a change. */
export function soon() {
  clearTimeout(timer);
  look();
}

async function look() {
  try {
    takeStatus(await get("/status"));
    if (performance.now() - seriesAt >= SERIES_EVERY_MS) {
      takeSeries(await get("/series?after=" + (live.series?.last ?? 0)));
      seriesAt = performance.now();
    }
    failures = 0;
    settle("live");
  } catch (error) {
    failures += 1;
    // One missed look is nothing to announce.
    if (failures > 1) settle("no answer: " + (error.status ? error.message : "the gateway cannot be reached"));
  }
  const wait = failures ? Math.min(PERIOD_MS * 2 ** failures, BACK_OFF_MS_MAX) : PERIOD_MS;
  clearTimeout(timer);
  timer = setTimeout(look, document.hidden ? Math.max(wait, HIDDEN_MS) : wait);
}

function settle(state) {
  if (live.state === state) return;
  live.state = state;
  tell("state");
}

function takeStatus(status) {
  const at = performance.now();
  // A restarted gateway counts from zero again.
  const same = before && status.pid === before.pid && status.requests_total >= before.requests;
  if (same) live.rate = (1000 * (status.requests_total - before.requests)) / Math.max(at - before.at, 1);
  if (before && status.pid !== before.pid) live.series = null;
  before = { at, requests: status.requests_total, pid: status.pid };
  live.status = status;
  tell("status");
}

function takeSeries(page) {
  if (!live.series || page.last < live.series.last) {
    live.series = page;
  } else {
    const [old, length] = [live.series, live.series.at.length];
    join(old, page, length, page.at.length);
    old.last = page.last;
    const names = new Set([...Object.keys(old.providers), ...Object.keys(page.providers)]);
    for (const name of names) {
      const lane = (old.providers[name] ??= {});
      const fresh = page.providers[name] ?? {};
      for (const column of Object.keys({ ...lane, ...fresh })) {
        lane[column] ??= Array(length).fill(null);
        lane[column].push(...(fresh[column] ?? Array(page.at.length).fill(null)));
        lane[column].splice(0, Math.max(0, lane[column].length - POINTS_MAX));
      }
    }
  }
  tell("series");
}

function join(old, page) {
  for (const [column, values] of Object.entries(page)) {
    if (!Array.isArray(values)) continue;
    old[column].push(...values);
    old[column].splice(0, Math.max(0, old[column].length - POINTS_MAX));
  }
}

function listen() {
  feed?.close();
  feed = new EventSource("/api/events");
  const seen = new Set(live.events.map(key));
  let waiting = false;
  feed.addEventListener("message", (message) => {
    const event = JSON.parse(message.data);
    if (seen.has(key(event))) return;
    seen.add(key(event));
    live.events.unshift(event);
    live.events.length = Math.min(live.events.length, EVENTS_MAX);
    // Many at once are told once.
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => {
      waiting = false;
      tell("events");
    });
  });
}

const key = (event) => event.sequence + event.at;
