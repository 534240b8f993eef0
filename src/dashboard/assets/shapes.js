// The shapes of answers in one place: costs, forecast, budgets, alerts, ledger. Pages know only what these functions give them, so that a
// page survives a member with another name.

import { get, optional, query } from "./api.js";

const number = (...values) => values.map(Number).find((value) => Number.isFinite(value)) ?? 0;
const list = (answer) => (Array.isArray(answer) ? answer : (answer?.data ?? answer?.rows ?? []));

/** Whose books an answer is of, as a sentence: empty where there is one machine. */
const whose = (answer) => answer.note ?? (answer.scope === "fleet" ? "Of all machines." : "");
/** The same in few words, behind others. */
const whoseInShort = (answer) => (answer.note ? ", this machine alone" : answer.scope === "fleet" ? ", all machines" : "");

/** `{ from, to, whose, whoseInShort, cost, change, rows: [{ bucket, provider, model, tenant, cost, requests, input, output }] }` of `/costs`; null where there is none. */
export async function costs({ group, bucket, period, tenant, from }, signal) {
  const asked = { group_by: group, bucket, period: from ? "" : period, from, tenant, limit: group || bucket ? 2000 : "" };
  const answer = await optional("/costs" + query(asked), signal);
  if (answer === null) return null;
  return {
    from: answer.from ?? null,
    to: answer.to ?? null,
    whose: whose(answer),
    whoseInShort: whoseInShort(answer),
    cost: number(answer.total?.cost_usd),
    change: answer.trend?.change_percent ?? null,
    more: Boolean(answer.next),
    rows: list(answer).map((row) => ({
      bucket: row.bucket ?? null,
      name: row[group] ?? null,
      cost: number(row.cost_usd, row.cost),
      requests: number(row.requests, row.attempts),
      input: number(row.input_tokens),
      output: number(row.output_tokens),
    })),
  };
}

/** `{ spent, expected, low, high, days: [{ day, spent } or { day, expected, low, high }], method, note, backtest }`, or null where there is none. */
export async function forecast({ tenant }, signal) {
  const answer = await optional("/costs/forecast" + query({ tenant }), signal);
  if (answer === null) return null;
  const band = (value) => ({ expected: value.cost_usd, low: value.interval_80.low_usd, high: value.interval_80.high_usd });
  return {
    month: answer.month,
    spent: number(answer.month_to_date?.cost_usd),
    ...(answer.forecast ? band(answer.forecast) : { expected: null, low: null, high: null }),
    method: answer.method ?? null,
    note: answer.reason ?? null,
    backtest: answer.backtest ?? null,
    days: [
      ...(answer.actual ?? []).map((day) => ({ day: day.date, spent: number(day.cost_usd) })),
      ...(answer.days ?? []).map((day) => ({ day: day.date, ...band(day) })),
    ],
  };
}

/** What each tenant used in a period, from the older `/usage`: `{ cost, requests, attempts, providers: {…}, models: {…} }`. */
export async function usage(tenants, period, signal) {
  const sum = { cost: 0, requests: 0, attempts: 0, input: 0, output: 0, providers: {}, models: {} };
  for (const tenant of tenants.slice(0, 50)) {
    const answer = await get("/usage" + query({ tenant, period }), signal);
    add(sum, answer);
    for (const [into, from] of [["providers", answer.by_provider], ["models", answer.by_model]]) {
      for (const [name, values] of Object.entries(from ?? {})) {
        add((sum[into][name] ??= { cost: 0, requests: 0, attempts: 0, input: 0, output: 0 }), values);
      }
    }
  }
  return sum;
}

function add(sum, values) {
  sum.cost += number(values.cost_usd);
  sum.requests += number(values.requests);
  sum.attempts += number(values.attempts);
  sum.input += number(values.input_tokens);
  sum.output += number(values.output_tokens);
}

/** Spend since midnight UTC where there are costs, else of the last 24 hours: `{ cost, label }`. */
export async function spendToday(signal) {
  const midnight = new Date().toISOString().slice(0, 10) + "T00:00:00Z";
  const answer = await costs({ from: midnight }, signal);
  if (answer) return { cost: answer.cost, label: "since midnight, UTC" + answer.whoseInShort };
  return { cost: (await usage(await tenants(signal), "day", signal)).cost, label: "last 24 hours" };
}

/** The ids of all tenants. */
export const tenants = async (signal) => list(await get("/tenants", signal)).map((tenant) => tenant.id);

/** Rows `{ tenant, key, origin, period, hard, limit, spent, reserved, resets }` of `/budgets`, or null. */
export async function budgets(signal) {
  const answer = await optional("/budgets", signal);
  if (answer === null) return null;
  return list(answer).flatMap((sheet) => sheet.budgets.map((row) => ({
    tenant: sheet.tenant,
    key: sheet.access_key ?? null,
    origin: row.set_by,
    period: row.period,
    hard: row.hard,
    limit: number(row.limit_usd),
    spent: number(row.spent_usd),
    alertAt: row.alert_at ?? [],
    resets: row.resets_at ?? null,
  })));
}

/** Rows `{ id, kind, text, tenant, subject, active, acknowledged, at, ended }` of `/alerts`, newest first, or null. */
export async function alerts(signal) {
  const answer = await optional("/alerts", signal);
  if (answer === null) return null;
  return list(answer).map((row) => ({
    id: row.id,
    kind: row.type,
    text: row.text,
    tenant: row.tenant,
    subject: row.subject,
    active: row.active && row.state === "open",
    lasts: row.active,
    acknowledged: row.acknowledged_by ?? null,
    at: row.created_at,
    ended: row.resolved_at ?? null,
  }));
}

/** What a status says of the ledger: `{ text, trouble }`, or null. */
export function ledger(status) {
  const found = status.ledger;
  if (!found) return null;
  if (found.durability === "none") return { text: "no journal", trouble: null };
  const trouble = found.full ? "the disk is full" : (found.trouble ?? null);
  const records = number(found.records).toLocaleString("en");
  return { text: trouble ?? `in order, durability ${found.durability}, ${records} records of this run`, trouble };
}

/** The formats that the ledger can be had in; empty where there is no export. */
export function exportFormats(status) {
  return status?.ledger && status.ledger.durability !== "none" ? ["csv", "jsonl", "parquet"] : [];
}
