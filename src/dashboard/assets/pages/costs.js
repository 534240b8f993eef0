// What was spent, on whom, and what the month will come to.

import { absent, card, fill, h, head, say, tile, field, select, empty } from "../dom.js";
import { count, money, percent } from "../format.js";
import { get } from "../api.js";
import { live } from "../live.js";
import { plot } from "../plot.js";
import { table } from "../table.js";
import { costs, exportFormats, forecast, tenants, usage } from "../shapes.js";

const SHOWN = 7;
const GROUPS = [["provider", "Provider"], ["model", "Model"], ["tenant", "Tenant"], ["policy", "Policy"], ["access_key", "Access key"]];
const PERIODS = [["day", "Last day"], ["week", "Last 7 days"], ["month", "Last 30 days"]];
const STEPS = { day: "hour", week: "day", month: "day" };

export async function render(main, page) {
  const group = select(GROUPS, page.query.get("group") ?? "provider", { id: "group", onchange: () => refresh() });
  const period = select(PERIODS, page.query.get("period") ?? "month", { id: "period", onchange: () => refresh() });
  const tenant = h("select", { id: "tenant", onchange: () => refresh() });
  const tiles = h("dl", { class: "tiles" }, tile("Spend", "spend"), tile("Requests", "requests"), tile("Tokens", "tokens"), tile("Month so far", "month"), tile("Expected this month", "expected"));
  const stacked = h("div");
  const band = h("div");
  const list = table({ caption: "Costs", sorted: 4, down: true, nothing: ["Nothing spent yet", "Costs appear a moment after the first answer."], columns: [
    { title: "Name", cell: (row) => row.name, sort: (row) => row.name },
    { title: "Requests", number: true, cell: (row) => count(row.requests), sort: (row) => row.requests },
    { title: "Tokens in", number: true, cell: (row) => count(row.input), sort: (row) => row.input },
    { title: "Tokens out", number: true, cell: (row) => count(row.output), sort: (row) => row.output },
    { title: "Spend", number: true, cell: (row) => money(row.cost), sort: (row) => row.cost },
    { title: "Share", number: true, cell: (row) => percent(row.share), sort: (row) => row.share }] });
  const downloads = h("span", { class: "row" });
  main.append(
    head("Costs", "Every attempt at a provider, priced and counted once."),
    h("div", { class: "filters" }, field("Group by", group), field("Period", period), field("Tenant", tenant)),
    h("p", { class: "faint small", id: "whose", role: "status", hidden: true }),
    tiles, card("Spend over time", null, stacked), card("This month, day by day", null, band),
    card("Table", downloads, list.element));
  const drawings = { stacked: null, band: null };
  page.onStop(() => Object.values(drawings).forEach((one) => one?.plot.close()));

  const formats = exportFormats(live.status ?? (await get("/status", page.signal)));
  downloads.append(...formats.map((format) => h("a", { class: "button", href: "/api/ledger/export?format=" + format, download: "ledger." + format }, "Ledger as " + { csv: "CSV", jsonl: "JSONL", parquet: "Parquet" }[format])));
  const own = h("button", { type: "button", onclick: () => save(list.rows ?? []) }, "Table as CSV");
  downloads.append(own);

  async function refresh() {
    if (tenant.options.length === 0) {
      const ids = await tenants(page.signal);
      tenant.append(h("option", { value: "" }, "all"), ...ids.map((id) => h("option", { value: id }, id)));
    }
    const asked = { group: group.value, period: period.value, tenant: tenant.value };
    const [sums, buckets, expected] = await Promise.all([
      costs(asked, page.signal), costs({ ...asked, bucket: STEPS[period.value] }, page.signal), forecast({ tenant: tenant.value }, page.signal)]);
    const rows = sums ? sums.rows : await older(asked, page.signal);
    const total = rows.reduce((sum, row) => ({ cost: sum.cost + row.cost, requests: sum.requests + row.requests, input: sum.input + row.input, output: sum.output + row.output }), { cost: 0, requests: 0, input: 0, output: 0 });
    list.rows = rows.map((row) => ({ ...row, share: total.cost ? row.cost / total.cost : 0 }));
    list.update(list.rows);
    const whose = document.getElementById("whose");
    if (whose) {
      say(whose, sums?.whose ?? "");
      whose.hidden = !sums?.whose;
    }
    put("spend", money(sums?.cost ?? total.cost), sums?.change == null ? "" : `${sums.change > 0 ? "+" : ""}${sums.change.toFixed(0)} % on the time before`);
    put("requests", count(total.requests), "");
    put("tokens", count(total.input + total.output), `${count(total.output)} of them out`);
    put("month", expected ? money(expected.spent) : "–", expected ? "" : "not available in this build");
    put("expected", expected?.expected == null ? "–" : money(expected.expected), expected?.expected == null ? (expected?.note ?? "") : `80 %: ${money(expected.low)} to ${money(expected.high)}`);
    drawStacked(stacked, drawings, buckets);
    drawBand(band, drawings, expected);
  }
  page.every(5, refresh);
}

function put(id, text, note) {
  const node = document.getElementById(id);
  if (!node) return;
  say(node, text);
  say(document.getElementById(id + "-note"), note);
}

/** Without `/costs`: the sums of `/usage`, by provider or model. */
async function older({ group, period, tenant }, signal) {
  const sum = await usage(tenant ? [tenant] : await tenants(signal), period, signal);
  const found = { provider: sum.providers, model: sum.models }[group] ?? {};
  return Object.entries(found).map(([name, values]) => ({ name, ...values, requests: values.attempts }));
}

/** Layers from the whole down to the first, so that each covers the ones below it and all can be read. */
function drawStacked(place, drawings, buckets) {
  if (buckets === null) return fill(place, absent());
  const names = top(buckets.rows);
  const at = [...new Set(buckets.rows.map((row) => row.bucket))].sort();
  if (at.length === 0) {
    drawings.stacked?.plot.close();
    drawings.stacked = null;
    return fill(place, empty("Nothing spent yet", "Costs appear a moment after the first answer."));
  }
  const layers = names.map((name) => at.map((bucket) => buckets.rows.filter((row) => row.bucket === bucket && (name === "others" ? !names.includes(row.name) : row.name === name)).reduce((sum, row) => sum + row.cost, 0)));
  if (drawings.stacked?.names !== names.join() || !place.contains(drawings.stacked.plot.element)) {
    drawings.stacked?.plot.close();
    const order = names.map((_, index) => index).reverse();
    const drawn = plot({ title: "Spend over time, stacked", xTitle: "From", height: 240, gaps: true,
      xFormat: (x) => text(x), xRange: (drawing) => around(drawing.data[0]), series: order.map((index) => ({ label: names[index], format: money, kind: "bars", colour: "--c" + ((index % 8) + 1), layer: index })) });
    drawings.stacked = { names: names.join(), plot: drawn, order };
    place.replaceChildren(drawn.element);
  }
  const { plot: drawn, order } = drawings.stacked;
  const sums = order.map((index) => at.map((_, column) => layers.slice(0, index + 1).reduce((sum, layer) => sum + layer[column], 0)));
  drawn.update(at.map((bucket) => Date.parse(bucket) / 1000), sums, order.map((index) => layers[index]));
}

/** Half a bucket of room at both ends; a single one stands in the middle of a day. What the library proposes is not looked at: to a single
 * point it adds years. */
function around(at) {
  const half = at.length > 1 ? (at[1] - at[0]) / 2 : 43_200;
  return at.length > 0 ? [at[0] - half, at[at.length - 1] + half] : [0, 1];
}

const text = (x) => new Date(x * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

function top(rows) {
  const sums = new Map();
  for (const row of rows) sums.set(row.name, (sums.get(row.name) ?? 0) + row.cost);
  const names = [...sums].sort((one, other) => other[1] - one[1]).map(([name]) => name);
  return names.length > SHOWN + 1 ? [...names.slice(0, SHOWN), "others"] : names;
}

function drawBand(place, drawings, expected) {
  if (expected === null) return fill(place, absent());
  if (expected.days.length === 0) return fill(place, empty("No forecast yet", expected.note ?? "It needs a few days of history."));
  if (!drawings.band || !place.contains(drawings.band.plot.element)) {
    drawings.band?.plot.close();
    const drawn = plot({ title: "Spend of this month by day, with the expected days", xTitle: "Day", height: 220, xFormat: text, gaps: true,
      bands: [[3, 2, "--c1"]],
      series: [{ label: "spent", format: money, points: true, area: true }, { label: "expected", format: money, dash: [6, 4], colour: "--c1" }, { label: "low", format: money, kind: "edge", silent: true }, { label: "high", format: money, kind: "edge", silent: true }] });
    drawings.band = { plot: drawn };
    place.replaceChildren(drawn.element, h("p", { class: "faint small", id: "forecast-note" }));
  }
  const { days } = expected;
  const column = (name) => days.map((day) => day[name] ?? null);
  drawings.band.plot.update(days.map((day) => Date.parse(day.day + "T00:00:00Z") / 1000), [column("spent"), column("expected"), column("low"), column("high")]);
  const tested = expected.backtest ? ` Tried on the past it was off by ${expected.backtest.mape_percent.toFixed(0)} % on average.` : "";
  say(document.getElementById("forecast-note"), [expected.note, expected.method ? `Method: ${expected.method}.` : null].filter(Boolean).join(" ") + tested);
}

/** What the table shows, as a file. */
function save(rows) {
  const quoted = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const lines = [["name", "requests", "input_tokens", "output_tokens", "cost_usd"], ...rows.map((row) => [row.name, row.requests, row.input, row.output, row.cost])];
  const url = URL.createObjectURL(new Blob([lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n"], { type: "text/csv" }));
  const link = h("a", { href: url, download: `costs-${new Date().toISOString().slice(0, 10)}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
