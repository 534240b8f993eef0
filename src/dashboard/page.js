// Polls the read-only API once a second and shows it. Text only ever enters the page as text, never as markup.
"use strict";

const PERIOD_MS = 1000;
const TREND_POINTS = 120;
const EVENTS_SHOWN = 100;

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const rates = [];
let before = null;
let failures = 0;

// A screen reader hears what changes, so what stays the same is not written again.
function show(id, text) {
  const node = element(id);
  if (node.textContent !== text) node.textContent = text;
}

const count = (value) => (typeof value === "number" ? whole.format(value) : "–");
const money = (value) => (typeof value === "number" ? "$" + value.toFixed(value !== 0 && Math.abs(value) < 1 ? 6 : 2) : "–");
const percent = (value) => (typeof value === "number" ? (100 * value).toFixed(value > 0 && value < 0.1 ? 2 : 0) + " %" : "–");

function milliseconds(value) {
  if (typeof value !== "number" || value === 0) return "–";
  return value < 10 ? value.toFixed(1) + " ms" : value < 10000 ? Math.round(value) + " ms" : (value / 1000).toFixed(1) + " s";
}

function duration(seconds) {
  const days = Math.floor(seconds / 86400);
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return (days > 0 ? days + " d " : "") + clock.map((part) => String(part).padStart(2, "0")).join(":");
}

async function ask(path) {
  const answer = await fetch("/api" + path, { credentials: "same-origin", cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status === 401 ? "signed out: open the link that igris printed" : "HTTP " + answer.status);
  return answer.json();
}

function row(cells) {
  const line = document.createElement("tr");
  cells.forEach(([text, kind], place) => {
    const cell = document.createElement(place === 0 ? "th" : "td");
    if (place === 0) cell.scope = "row";
    if (kind) cell.className = kind;
    cell.textContent = text;
    line.append(cell);
  });
  return line;
}

// Rows are replaced only when they differ: focus and selection stay where they are.
function rows(id, lines) {
  const body = element(id);
  const fresh = lines.map(row);
  const same = body.children.length === fresh.length && fresh.every((line, place) => line.isEqualNode(body.children[place]));
  if (!same) body.replaceChildren(...fresh);
}

function showStatus(status) {
  const at = performance.now();
  // A restarted gateway counts from zero again.
  if (before && status.requests_total >= before.requests) {
    rates.push((1000 * (status.requests_total - before.requests)) / Math.max(at - before.at, 1));
    rates.splice(0, rates.length - TREND_POINTS);
    show("rate", rates.at(-1).toFixed(rates.at(-1) < 10 ? 1 : 0));
    const top = Math.max(...rates, 1);
    const points = rates.map((rate, place) => TREND_POINTS - rates.length + place + "," + (23 - (22 * rate) / top).toFixed(2));
    element("trend").querySelector("polyline").setAttribute("points", points.join(" "));
  }
  before = { at, requests: status.requests_total };
  show("version", status.version);
  for (const name of ["connections", "exchanges", "streams"]) show(name, count(status[name]));
  show("requests", count(status.requests_total));
  show("refused", count(status.requests_refused_total));
  show("uptime", duration(status.uptime_seconds));
  show("config-version", count(status.config.version));
  show("config-digest", status.config.digest.slice(0, 16));
  element("config-digest").title = status.config.digest;
  show("generation", count(status.snapshot.generation));
  show("driver", status.driver + ", " + count(status.workers) + (status.workers === 1 ? " core" : " cores"));
  show("tenants", count(status.tenants) + ", " + count(status.access_keys));
  show("trouble", status.trouble || "none");
  element("trouble").className = status.trouble ? "bad" : "";
}

function showProviders(list) {
  const sum = (member) => list.reduce((total, provider) => total + (provider[member] || 0), 0);
  const failed = list.reduce((total, provider) => total + (provider.requests || 0) * (provider.error_rate || 0), 0);
  show("attempts", count(sum("requests")));
  show("errors", count(Math.round(failed)));
  show("tokens-in", count(sum("input_tokens")));
  show("tokens-out", count(sum("output_tokens")));
  show("spend", money(sum("cost_usd")));
  rows("provider-rows", list.map((provider) => [
    [provider.name],
    [count(provider.requests), "number"],
    [percent(provider.error_rate), provider.error_rate > 0.05 ? "number bad" : "number"],
    [milliseconds(provider.latency_ms_p50), "number"],
    [milliseconds(provider.latency_ms_p99), "number"],
    [count(provider.input_tokens), "number"],
    [count(provider.output_tokens), "number"],
    [money(provider.cost_usd), "number"],
    [provider.keyless ? "none needed" : count(provider.credentials), "number"],
    [lastError(provider.last_error)],
  ]));
}

function lastError(error) {
  if (!error) return "–";
  return error.outcome.replaceAll("_", " ") + (error.status ? " " + error.status : "") + " at " + error.at.slice(11, 19);
}

function showUsage(usage) {
  const line = (name, kind, sums) => [
    [name],
    [kind],
    [count(sums.requests), "number"],
    [count(sums.attempts), "number"],
    [count(sums.input_tokens), "number"],
    [count(sums.output_tokens), "number"],
    [money(sums.cost_usd), "number"],
  ];
  const group = (kind, sums) => Object.entries(sums).map(([name, values]) => line(name, kind, values));
  rows("usage-rows", [
    line("all", "sum", usage), ...group("provider", usage.by_provider), ...group("model", usage.by_model),
  ]);
}

function showTenants(list) {
  const choice = element("tenant");
  const names = list.map((tenant) => tenant.id);
  if (names.length === choice.options.length && names.every((name, place) => name === choice.options[place].text)) return;
  const chosen = choice.value;
  choice.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
}

async function look() {
  try {
    const question = new URLSearchParams({ tenant: element("tenant").value || "default", period: element("period").value });
    const [status, providers, usage, tenants] = await Promise.all([
      ask("/status"), ask("/providers"), ask("/usage?" + question), ask("/tenants"),
    ]);
    showStatus(status);
    showProviders(providers.data);
    showUsage(usage);
    showTenants(tenants.data);
    failures = 0;
    show("connection", "live");
    element("connection").className = "";
  } catch (error) {
    failures += 1;
    // One missed second is nothing to announce.
    if (failures > 1) {
      show("connection", "no answer: " + error.message);
      element("connection").className = "lost";
    }
  }
  setTimeout(look, document.hidden ? 5 * PERIOD_MS : PERIOD_MS);
}

function listen() {
  const feed = new EventSource("/api/events");
  const seen = new Set();
  const take = (message) => {
    const event = JSON.parse(message.data);
    const key = event.sequence + event.at;
    if (seen.has(key)) return;
    seen.add(key);
    const line = document.createElement("li");
    const [at, kind, text] = ["time", "b", "span"].map((name) => document.createElement(name));
    at.dateTime = event.at;
    at.textContent = event.at.slice(11, 19);
    kind.textContent = event.kind;
    text.textContent = event.text;
    line.append(at, kind, text);
    const list = element("events");
    list.prepend(line);
    while (list.children.length > EVENTS_SHOWN) list.lastElementChild.remove();
  };
  feed.addEventListener("message", take);
}

look();
listen();
