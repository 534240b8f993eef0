// The state of everything at a glance, live.

import { badge, card, empty, fill, h, patch, say, tile } from "../dom.js";
import { get } from "../api.js";
import { count, duration, micros, money, percent, rate, short, time, milliseconds } from "../format.js";
import { live } from "../live.js";
import { plot } from "../plot.js";
import { table } from "../table.js";
import * as shapes from "../shapes.js";

const RECENT_POINTS = 60;

export async function render(main, page) {
  const version = h("p", null, "…");
  const alarms = h("ul", { class: "notes", "aria-label": "Alarms" });
  const tiles = h("dl", { class: "tiles" },
    tile("Requests a second", "rate"), tile("Failed attempts", "failed", "last 5 minutes"), tile("Spend today", "spend"),
    tile("Added latency p50", "added-p50", "our own time"), tile("Added latency p99", "added-p99", "our own time"),
    tile("Under way", "under-way"));
  const traffic = plot({ title: "Requests and failed attempts a second", height: 200, least: 1, series: [
    { label: "Requests/s", format: rate, area: true }, { label: "Failed/s", format: rate, colour: "--bad" }] });
  const added = plot({ title: "Added latency", height: 200, gaps: true, series: [
    { label: "p50", format: micros, colour: "--c3" }, { label: "p99", format: micros, colour: "--c7" }] });
  const providers = table({ caption: "Providers", rows: 8, key: (row) => row.name, nothing: ["No provider yet", "Add one to the configuration."], columns: [
    { title: "Provider", cell: (row) => h("a", { href: "#/providers/" + encodeURIComponent(row.name) }, row.name) },
    { title: "State", cell: (row) => breaker(row.circuit_breaker_state) },
    { title: "p50", number: true, cell: (row) => milliseconds(row.latency_ms_p50 || null) },
    { title: "Errors", number: true, cell: (row) => h("span", { class: row.error_rate > 0.05 ? "bad" : "" }, percent(row.error_rate)) },
    { title: "Spend", number: true, cell: (row) => money(row.cost_usd) }] });
  const state = h("dl", { class: "facts" });
  const events = h("ul", { class: "feed short", tabindex: "0", "aria-label": "Latest events" });
  main.append(
    h("div", { class: "head" }, h("div", null, h("h1", null, "Overview"), version)),
    alarms, tiles,
    h("div", { class: "grid" }, card("Traffic", null, traffic.element), card("Added latency", null, added.element)),
    h("div", { class: "grid" },
      card("Providers", h("a", { href: "#/providers" }, "All providers"), providers.element),
      card("State", h("a", { href: "#/config" }, "Configuration"), state)),
    card("Latest events", h("a", { href: "#/events" }, "All events"), events));
  page.onStop(() => [traffic, added].forEach((one) => one.close()));

  const extra = { spend: null, alerts: null, budgets: null, breakers: [], rotations: [] };
  page.watch((what) => {
    if (what === "status" && live.status) status(live.status, { version, alarms, state }, extra);
    if (what === "series" && live.series) series(live.series, traffic, added);
    if (what === "events") feed(events);
  });
  page.every(5, async () => {
    const [list, breakers] = await Promise.all([get("/providers", page.signal), get("/breakers", page.signal)]);
    providers.update(list.data);
    extra.breakers = breakers.data.filter((one) => one.state !== "closed");
    if (live.status) status(live.status, { version, alarms, state }, extra);
  });
  page.every(10, async () => {
    const [spend, alerts, budgets] = await Promise.all([shapes.spendToday(page.signal), shapes.alerts(page.signal), shapes.budgets(page.signal)]);
    Object.assign(extra, { alerts, budgets });
    say(document.getElementById("spend"), money(spend.cost));
    say(document.getElementById("spend-note"), spend.label);
    if (live.status) status(live.status, { version, alarms, state }, extra);
  });
}

export function breaker(state) {
  const kinds = { closed: ["healthy", "good"], open: ["breaker open", "bad"], half_open: ["half open", "warn"], probing: ["probing", "warn"], forced: ["held open", "bad"] };
  const [text, kind] = kinds[state] ?? [state ?? "unknown", ""];
  return badge(text, kind);
}

function put(id, text) {
  const node = document.getElementById(id);
  if (node) say(node, text);
}

function status(status, parts, extra) {
  say(parts.version, `Version ${status.version}, up ${duration(status.uptime_seconds)}, ${status.driver} on ${status.workers} ${status.workers === 1 ? "core" : "cores"}`);
  put("rate", rate(live.rate));
  put("under-way", count(status.exchanges));
  put("under-way-note", `${count(status.streams)} streams, ${count(status.connections)} connections`);
  put("rate-note", `${short(status.requests_total)} since start, ${count(status.requests_refused_total)} refused`);
  const lines = alarms(status, extra).map(([kind, text, href]) => h("li", { class: kind }, href ? h("a", { href }, text) : text));
  fill(parts.alarms, ...lines);
  parts.alarms.hidden = lines.length === 0;
  const facts = [
    ["Ledger", shapes.ledger(status)?.text ?? (status.store.ok ? "in the store, in order" : "trouble")],
    ["Budgets", extra.budgets === null ? "none reported" : budgetLine(extra.budgets)],
    ["Configuration", `version ${status.config.version}, digest ${status.config.digest.slice(0, 12)}`],
    ["Snapshot", `generation ${status.snapshot.generation}`],
    ["Estate", status.fleet ? `shared, generation ${status.fleet.generation}` : "of this machine alone"],
    ["Tenants", `${count(status.tenants)}, with ${count(status.access_keys)} access keys`],
    ["Rotations", rotationLine(status.rotations)],
    ["Halted", status.halted === 0 ? "nothing" : count(status.halted) + " lanes, credentials or providers"],
    ["Reports waiting", count(status.reports_waiting)],
  ];
  fill(parts.state, ...facts.flatMap(([name, text]) => [h("dt", null, name), h("dd", null, text)]));
}

function alarms(status, extra) {
  const found = [];
  if (status.trouble) found.push(["bad", "Trouble: " + status.trouble, "#/events"]);
  if (status.fleet && !status.fleet.reachable) {
    found.push(["bad", `The shared database is gone (${status.fleet.trouble ?? "no answer"}). This machine serves from its copy and changes nothing.`, "#/events"]);
  }
  const ledger = shapes.ledger(status);
  if (ledger?.trouble) found.push(["bad", "The ledger: " + ledger.trouble, "#/events"]);
  if (status.config.expired) found.push(["bad", "The configuration has expired.", "#/config"]);
  if (status.config.rollout?.on_trial) found.push(["warn", `Configuration version ${status.config.rollout.on_trial.version} is on trial.`, "#/config"]);
  for (const one of extra.breakers) {
    const what = one.model ? `${one.provider} / ${one.model}` : one.provider;
    found.push([one.state === "probing" || one.state === "half_open" ? "warn" : "bad", `The breaker of ${what} is ${one.state === "forced" ? "held open by its owner" : one.state.replace("_", " ")}.`, "#/providers/" + encodeURIComponent(one.provider)]);
  }
  for (const alert of (extra.alerts ?? []).filter((alert) => alert.active).slice(0, 5)) {
    found.push(["warn", alert.text || alert.kind, "#/alerts"]);
  }
  for (const warning of status.config.warnings ?? []) found.push(["warn", warning, "#/config"]);
  return found;
}

function budgetLine(budgets) {
  if (budgets.length === 0) return "none set";
  const fullest = Math.max(...budgets.map((one) => (one.limit > 0 ? one.spent / one.limit : 0)));
  return `${budgets.length}, the fullest at ${percent(fullest)}`;
}

function rotationLine(rotations) {
  if (!rotations) return "none";
  const parts = Object.entries(rotations).filter(([, value]) => typeof value === "number" && value > 0);
  return parts.length ? parts.map(([name, value]) => `${value} ${name.replaceAll("_", " ")}`).join(", ") : "none under way";
}

function series(series, traffic, added) {
  const step = series.step_seconds;
  const each = (values) => values.map((value) => (value === null ? null : value / step));
  traffic.update(series.at, [each(series.requests), each(series.failed)]);
  added.update(series.at, [series.added_us_p50, series.added_us_p99]);
  const last = (values) => values.slice(-RECENT_POINTS);
  const sum = (values) => last(values).reduce((total, value) => total + (value ?? 0), 0);
  const attempts = Object.values(series.providers).reduce((total, lane) => total + sum(lane.attempts ?? []), 0);
  put("failed", attempts === 0 ? "–" : percent(sum(series.failed) / attempts));
  const latest = (values) => values.findLast((value) => value !== null);
  put("added-p50", micros(latest(series.added_us_p50)));
  put("added-p99", micros(latest(series.added_us_p99)));
}

function feed(list) {
  const lines = live.events.slice(0, 12).map((event) => h("li", { "data-keep": event.at + event.sequence }, h("time", { datetime: event.at }, time(event.at)), h("b", null, event.kind), h("span", null, event.text)));
  if (lines.length) patch(list, lines);
  else list.replaceChildren(h("li", null, empty("No events yet", "")));
}
