// Why a request went where it went: the latest decisions, and one of them explained.

import { badge, card, empty, field, h, head, select } from "../dom.js";
import { get, optional, query } from "../api.js";
import { micros, milliseconds, money, time, when, words } from "../format.js";
import { table } from "../table.js";

const LIMIT = 500;

export async function render(main, page) {
  if (page.parts[0]) return one(main, page, page.parts[0]);
  const wanted = (name) => page.query.get(name) ?? "";
  const id = h("input", { id: "search", placeholder: "req_…", autocomplete: "off", spellcheck: "false" });
  const model = h("input", { id: "model", value: wanted("model"), autocomplete: "off", oninput: () => later() });
  const provider = h("input", { id: "provider", value: wanted("provider"), autocomplete: "off", oninput: () => later() });
  const tenant = h("input", { id: "tenant", value: wanted("tenant"), autocomplete: "off", oninput: () => later() });
  const status = select([["", "any"], "200", "400", "401", "402", "403", "404", "429", "500", "502", "503", "504"], wanted("status"), { id: "status", onchange: () => refresh() });
  const list = table({ caption: "Decisions", key: (row) => row.id, nothing: ["No decision fits", "Decisions of the latest requests are kept; widen the filter or send a request."], columns: [
    { title: "Request", cell: (row) => h("a", { href: "#/decisions/" + row.id, title: row.id }, h("code", null, row.id.slice(0, 12) + "…")) },
    { title: "At", cell: (row) => time(row.at), sort: (row) => row.at_ms },
    { title: "Tenant", cell: (row) => row.tenant, sort: (row) => row.tenant },
    { title: "Asked for", cell: (row) => row.model, sort: (row) => row.model },
    { title: "Served by", cell: (row) => server(row), sort: server },
    { title: "Policy", cell: (row) => words(row.policy), sort: (row) => row.policy },
    { title: "Status", cell: (row) => statusBadge(row.status), sort: (row) => row.status },
    { title: "Latency", number: true, cell: (row) => milliseconds(row.latency_ms), sort: (row) => row.latency_ms ?? 0 },
    { title: "Cost", number: true, cell: (row) => money(row.cost_usd), sort: (row) => row.cost_usd ?? 0 }] });
  const search = h("form", { class: "filters", role: "search" },
    field("Request id", id), field("Model", model), field("Provider", provider), field("Tenant", tenant), field("Status", status),
    h("button", { type: "submit" }, "Search"));
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    if (id.value.trim()) location.hash = "#/decisions/" + encodeURIComponent(id.value.trim());
    else refresh();
  });
  main.append(head("Decisions", "Each request with its candidates, the choice and what came of it. No prompt is kept."), card("Search", null, search), card("Latest", null, list.element));
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 300);
  };
  async function refresh() {
    const answer = await get("/decisions" + query({ model: model.value.trim(), provider: provider.value.trim(), tenant: tenant.value.trim(), status: status.value, limit: LIMIT }), page.signal);
    list.update(answer.data);
  }
  page.every(4, refresh);
  page.onStop(() => clearTimeout(timer));
}

const server = (row) => row.attempts.findLast((attempt) => attempt.outcome === "completed")?.provider ?? row.attempts.at(-1)?.provider ?? "nobody";

function statusBadge(status) {
  return badge(String(status), status < 400 ? "good" : status < 500 ? "warn" : "bad");
}

async function one(main, page, id) {
  page.title("Decision");
  const back = h("p", null, h("a", { href: "#/decisions" }, "← All decisions"));
  const decision = await optional("/decisions/" + encodeURIComponent(id), page.signal);
  if (!decision) return main.append(back, h("h1", null, "Decision"), card("Not found", null, empty("There is no such decision", "It is no longer remembered, or the id is another one.")));
  const rejected = decision.candidates.filter((candidate) => candidate.rejected);
  const needs = Object.entries(decision.need).filter(([, value]) => value === true || (typeof value === "number" && value > 0)).map(([name, value]) => (value === true ? words(name) : `${value} ${words(name)}`));
  const facts = [
    ["Reason", decision.reason],
    ["Asked for", `${decision.model}, by tenant ${decision.tenant}`],
    ["Policy", `${words(decision.policy)}, optimized for ${decision.optimization === "balanced" ? "balance" : words(decision.optimization)}${decision.exploration ? ", exploring" : ""}`],
    ["About", decision.semantic_classification ? `${decision.semantic_classification.category}, ${Math.round(100 * decision.semantic_classification.confidence)} % sure` : "not classified"],
    ["Needed", needs.join(", ") || "nothing special"],
    ["Latency", `${milliseconds(decision.latency_ms)} to the first byte, ${milliseconds(decision.estimated_latency_ms)} expected`],
    ["Cost", `${money(decision.cost_usd)}, ${money(decision.estimated_cost_usd)} expected`],
    ["Access key", h("code", null, decision.access_key)],
  ];
  const candidates = table({ caption: "Candidates", nothing: ["No candidate", "Nobody serves this name."], columns: [
    { title: "Provider", cell: (row) => row.provider },
    { title: "Model", cell: (row) => row.model },
    { title: "Score", number: true, cell: (row) => (typeof row.score === "number" ? row.score.toFixed(3) : "–") },
    { title: "Expected", number: true, cell: (row) => milliseconds(row.estimated_latency_ms) },
    { title: "Would cost", number: true, cell: (row) => money(row.estimated_cost_usd) },
    { title: "Errors", number: true, cell: (row) => (row.error_rate === null ? "–" : (100 * row.error_rate).toFixed(1) + " %") },
    { title: "Verdict", cell: (row) => (row.rejected ? badge("rejected: " + words(row.rejected), "bad") : verdict(decision, row)) }] });
  candidates.update(decision.candidates);
  main.append(back,
    h("div", { class: "head" }, h("div", null, h("h1", null, "Decision"), h("p", null, h("code", { id: "decision-id" }, decision.id), " at " + when(decision.at))), statusBadge(decision.status)),
    card("Why", null, h("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]))),
    card(`Candidates${rejected.length ? `, ${rejected.length} rejected` : ""}`, null, candidates.element),
    card("Time line of attempts", null, timeline(decision.attempts)),
    card("Our own time", h("span", { class: "faint small" }, "microseconds of this gateway"), phases(decision.phases)));
}

function verdict(decision, row) {
  const at = decision.attempts.findIndex((attempt) => attempt.provider === row.provider && attempt.model === row.model && attempt.credential === row.credential);
  return at < 0 ? badge("in reserve", "") : badge(at === 0 ? "asked first" : `asked, try ${at + 1}`, "mark");
}

/** Each attempt after the one before it: connecting, waiting for the first byte, receiving. */
function timeline(attempts) {
  if (attempts.length === 0) return empty("Nobody was asked", "The request ended before an attempt.");
  const whole = attempts.reduce((sum, attempt) => sum + attempt.total_us, 0) || 1;
  let before = 0;
  const lines = attempts.map((attempt) => {
    const connect = attempt.connect_us + attempt.tls_us;
    const first = Math.max(attempt.first_byte_us, 0);
    const parts = [["", 0, connect], ["second", connect, Math.max(first, connect)], ["third", Math.max(first, connect), attempt.total_us]];
    const spans = parts.filter(([, from, to]) => to > from).map(([kind, from, to]) => h("span", { class: kind, style: { left: (100 * (before + from)) / whole + "%", width: (100 * (to - from)) / whole + "%" } }));
    before += attempt.total_us;
    const text = `${attempt.provider}: ${words(attempt.outcome)}${attempt.status ? " " + attempt.status : ""}, connected in ${micros(connect)}, first byte after ${micros(first)}, ${micros(attempt.total_us)} in all`;
    return h("li", null, h("span", null, h("b", null, attempt.provider), h("br"), h("span", { class: "faint small" }, `${words(attempt.outcome)} ${attempt.status || ""}`)),
      h("span", { class: "track", role: "img", "aria-label": text }, ...spans), h("span", { class: "number" }, micros(attempt.total_us)));
  });
  const legend = [["--c1", "connecting"], ["--c2", "waiting"], ["--c3", "receiving"]].map(([colour, text]) => h("li", null, h("i", { style: { background: `var(${colour})` } }), text));
  return h("div", { class: "plot" }, h("ol", { class: "timeline" }, ...lines), h("ul", { class: "legend" }, ...legend));
}

function phases(phases) {
  const names = { queue_us: "reading the head", auth_us: "finding the access key", read_us: "reading the body (the client's time too)", parse_us: "understanding it", plan_us: "ordering the candidates", translate_us: "writing, passing on, translating", flush_us: "sending (the client's time too)" };
  return h("dl", { class: "facts" }, ...Object.entries(names).flatMap(([name, text]) => [h("dt", null, text), h("dd", null, micros(phases[name]))]));
}
