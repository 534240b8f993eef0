// Who serves, how well, and the breaker of each; one provider opened up with its latency and its score.

import { badge, bar, card, empty, fill, h, head } from "../dom.js";
import { change, get, optional } from "../api.js";
import { count, milliseconds, money, percent, when, words } from "../format.js";
import { ask, deed, toast } from "../dialog.js";
import { live, soon } from "../live.js";
import { plot } from "../plot.js";
import { table } from "../table.js";
import { percentiles, decode } from "../hdr.js";
import { breaker } from "./overview.js";

const PHASES = [["total", "whole answer"], ["first_byte", "first byte"], ["first_token", "first token"], ["connect", "connecting"], ["inter_token", "between tokens"]];

export async function render(main, page) {
  if (page.parts[0]) return one(main, page, page.parts[0]);
  const list = table({ caption: "Providers", key: (row) => row.name, nothing: ["No provider yet", "Add one to the configuration, or a key for a built-in one."], columns: [
    { title: "Provider", cell: (row) => h("a", { href: link(row.name) }, row.name), sort: (row) => row.name },
    { title: "Breaker", cell: (row) => breaker(row.circuit_breaker_state) },
    { title: "Attempts", number: true, cell: (row) => count(row.requests), sort: (row) => row.requests },
    { title: "Errors", number: true, cell: (row) => h("span", { class: row.error_rate > 0.05 ? "bad" : "" }, percent(row.error_rate)), sort: (row) => row.error_rate },
    { title: "p50", number: true, cell: (row) => milliseconds(row.latency_ms_p50 || null), sort: (row) => row.latency_ms_p50 },
    { title: "p99", number: true, cell: (row) => milliseconds(row.latency_ms_p99 || null), sort: (row) => row.latency_ms_p99 },
    { title: "Spend", number: true, cell: (row) => money(row.cost_usd), sort: (row) => row.cost_usd },
    { title: "Keys", number: true, cell: (row) => (row.keyless ? "none needed" : count(row.credentials)) },
    { title: "", cell: (row) => moves(row.name, row.circuit_breaker_state, refresh) }] });
  main.append(head("Providers", "Who serves requests, how well, and whether they are asked at all."), card("All providers", null, list.element));
  const names = () => Object.keys(live.series?.providers ?? {}).slice(0, 8);
  const scores = h("div");
  main.append(card("Score over time", h("span", { class: "faint small" }, "expected reward of an attempt, 0 to 1"), scores));
  let drawn = null;
  let shown = "";
  page.watch((what) => {
    if (what !== "series" || !live.series) return;
    const wanted = names();
    if (wanted.join() !== shown) {
      drawn?.close();
      drawn = plot({ title: "Score of each provider", height: 220, top: 1, gaps: true, series: wanted.map((label) => ({ label, format: score })) });
      scores.replaceChildren(drawn.element);
      shown = wanted.join();
    }
    drawn?.update(live.series.at, wanted.map((name) => live.series.providers[name].score));
  });
  page.onStop(() => drawn?.close());
  async function refresh() {
    list.update((await get("/providers", page.signal)).data);
  }
  page.every(5, refresh);
}

const link = (name) => "#/providers/" + encodeURIComponent(name);
const score = (value) => (value === null ? "–" : value.toFixed(2));

/** Open, close and reset, as they make sense. */
function moves(name, state, done) {
  const move = (to, title, sentence, danger) => async () => {
    const worked = await ask({ title, sentence, confirm: title.split(" ")[0], danger, act: () => change("POST", `/breakers/${encodeURIComponent(name)}/${to}`) });
    if (!worked) return;
    toast(`The breaker of ${name} is ${{ open: "open: it is not asked", close: "closed", reset: "reset" }[to]}.`);
    soon();
    await done();
  };
  const closed = state === "closed";
  return h("span", { class: "row end", "data-keep": name + state },
    closed ? deed("Open", "operate", move("open", `Open the breaker of ${name}?`, "No request goes to it until you close the breaker.", true), { class: "small" })
      : deed("Close", "operate", move("close", `Close the breaker of ${name}?`, "It is asked again at once."), { class: "small" }),
    deed("Reset", "operate", move("reset", `Reset the breaker of ${name}?`, "It is asked again, and the failures that were counted are forgotten."), { class: "small" }));
}

async function one(main, page, name) {
  page.title(name);
  const facts = h("dl", { class: "facts" });
  const buttons = h("span", { class: "row" });
  const quota = h("div");
  const curve = plot({ title: `Latency percentiles of ${name}`, x: "percentile", xTitle: "Percentile", height: 240, empty: "No answers yet",
    xSplits: () => [1, 2, 10, 100, 1000, 10000], xFormat: percentileText, gaps: true,
    series: [{ label: "latency", format: milliseconds, area: true }] });
  const latency = plot({ title: `Latency of ${name} over time`, height: 200, gaps: true, series: [
    { label: "p50", format: milliseconds, colour: "--c3" }, { label: "p99", format: milliseconds, colour: "--c7" }] });
  const scores = plot({ title: `Score of ${name} over time`, height: 200, top: 1, gaps: true, series: [{ label: "score", format: score, area: true }] });
  const lanes = table({ caption: "Lanes", nothing: ["No lane yet", "A lane is a model with a key; it comes with the first request."], columns: [
    { title: "Model", cell: (row) => row.model, sort: (row) => row.model },
    { title: "Key", cell: (row) => h("code", null, row.credential ? "…" + row.credential.slice(-6) : "none") },
    { title: "Score", number: true, cell: (row) => score(row.score), sort: (row) => row.score },
    { title: "Samples", number: true, cell: (row) => count(row.samples), sort: (row) => row.samples },
    { title: "Errors", number: true, cell: (row) => percent(row.error_rate) },
    { title: "Limited", number: true, cell: (row) => percent(row.limited_rate) },
    { title: "First byte p50", number: true, cell: (row) => milliseconds(row.first_byte_ms?.p50) },
    { title: "Total p50", number: true, cell: (row) => milliseconds(row.total_ms?.p50) },
    { title: "State", cell: (row) => (row.halted ? badge(`${words(row.halted.why)}, ${Math.ceil(row.halted.seconds_left)} s`, "bad") : badge("asked", "good")) }] });
  const model = h("select", { id: "model", onchange: () => draw() });
  const phase = h("select", { id: "phase", onchange: () => draw() }, ...PHASES.map(([value, text]) => h("option", { value }, text)));
  main.append(
    h("p", null, h("a", { href: "#/providers" }, "← All providers")),
    h("div", { class: "head" }, h("div", null, h("h1", null, name), h("p", null, "Health, latency and how it is chosen.")), buttons),
    h("div", { class: "grid" }, card("State", null, facts), card("Quota", null, quota)),
    card("Latency percentiles", h("span", { class: "row" }, h("label", { for: "model" }, "Model"), h("span", null, model), h("label", { for: "phase" }, "Time to"), h("span", null, phase)), curve.element),
    h("div", { class: "grid" }, card("Latency over time", null, latency.element), card("Score over time", null, scores.element)),
    card("Lanes", null, lanes.element));
  page.onStop(() => [curve, latency, scores].forEach((one) => one.close()));
  page.watch((what) => {
    const lane = live.series?.providers[name];
    if (what !== "series" || !lane) return;
    latency.update(live.series.at, [lane.latency_ms_p50, lane.latency_ms_p99]);
    scores.update(live.series.at, [lane.score]);
  });
  async function draw() {
    if (!model.value) return curve.update([], [[]]);
    const answer = await optional(`/histograms/${encodeURIComponent(name)}/${encodeURIComponent(model.value)}`, page.signal);
    const found = answer?.phases?.[phase.value];
    if (!found || found.count === 0) return curve.update([], [[]]);
    const points = percentiles(await decode(found.hdr));
    curve.update(points.map((point) => point.x), [points.map((point) => point.value / 1000)]);
  }
  async function refresh() {
    const [list, breakers, scored] = await Promise.all([get("/providers", page.signal), get("/breakers", page.signal), get("/scores", page.signal)]);
    const found = list.data.find((row) => row.name === name);
    if (!found) return fill(facts, h("dd", null, empty("No such provider", "It is no longer configured.")));
    const own = scored.data.filter((row) => row.provider === name);
    const of = breakers.data.find((row) => row.provider === name && !row.model);
    fill(facts, ...[
      ["Breaker", breaker(of?.state ?? found.circuit_breaker_state)],
      ["Because of", words(of?.cause ?? "nothing")],
      ["Attempts", `${count(found.requests)}, ${percent(found.error_rate)} failed`],
      ["Latency", `p50 ${milliseconds(found.latency_ms_p50 || null)}, p95 ${milliseconds(found.latency_ms_p95 || null)}, p99 ${milliseconds(found.latency_ms_p99 || null)}`],
      ["Tokens", `${count(found.input_tokens)} in, ${count(found.output_tokens)} out`],
      ["Spend", money(found.cost_usd)],
      ["Last error", found.last_error ? `${words(found.last_error.outcome)} ${found.last_error.status || ""}, ${when(found.last_error.at)}` : "none"],
      ["Address", found.base_url ?? "–"],
    ].flatMap(([term, value]) => [h("dt", null, term), h("dd", null, value)]));
    fill(quota, ...quotaLines(own));
    if (buttons.dataset.state !== found.circuit_breaker_state) {
      buttons.dataset.state = found.circuit_breaker_state;
      buttons.replaceChildren(moves(name, found.circuit_breaker_state, refresh));
    }
    lanes.update(own);
    const models = [...new Set(own.filter((row) => row.samples > 0).map((row) => row.model))];
    if (models.join() !== [...model.options].map((option) => option.value).join()) {
      const chosen = model.value;
      model.replaceChildren(...models.map((text) => h("option", { value: text, selected: text === chosen }, text)));
    }
    await draw();
  }
  page.every(5, refresh);
}

/** What is known of the room that is left: how often the provider said "slow down", and which lanes wait for it. */
function quotaLines(lanes) {
  if (lanes.length === 0) return [empty("Nothing known yet", "It shows after the first requests.")];
  const samples = lanes.reduce((sum, lane) => sum + lane.samples, 0);
  const limited = samples ? lanes.reduce((sum, lane) => sum + lane.samples * lane.limited_rate, 0) / samples : 0;
  const waiting = lanes.filter((lane) => lane.halted && ["quota", "rate_limited", "limited", "throttled"].includes(lane.halted.why)).length;
  return [
    h("p", null, `${percent(1 - limited)} of attempts were within the provider's limits.`),
    bar(limited, `${percent(limited)} of attempts were limited`),
    h("p", { class: "faint small" }, waiting ? `${waiting} of ${lanes.length} lanes wait until their limit is over.` : `None of ${lanes.length} lanes waits for a limit.`),
  ];
}

function percentileText(x) {
  if (x === null) return "";
  const share = 100 * (1 - 1 / x);
  return (x >= 1000 ? share.toFixed(x >= 10000 ? 2 : 1) : Math.round(share * 10) / 10) + " %";
}
