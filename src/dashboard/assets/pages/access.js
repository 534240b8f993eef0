// The keys that clients show us, what they may do, what they have left, and the budgets of their tenants.

import { absent, badge, bar, card, field, fill, h, head } from "../dom.js";
import { change, get, query } from "../api.js";
import { count, date, money, percent, when } from "../format.js";
import { ask, deed, reveal, toast } from "../dialog.js";
import { table } from "../table.js";
import { budgets, tenants } from "../shapes.js";

const KINDS = { active: "good", expired: "warn", revoked: "" };
const SCOPES = ["inference", "keys", "costs", "admin"];
const PERIODS = ["hour", "day", "week", "month", "total"];

export async function render(main, page) {
  const tenant = h("select", { id: "tenant", onchange: () => refresh() });
  const list = table({ caption: "Access keys", key: (row) => row.id + row.status + JSON.stringify(row.limits), nothing: ["No access key yet", "Make the first one for an application."], columns: [
    { title: "Name", cell: (row) => h("span", { title: row.id }, row.name), sort: (row) => row.name },
    { title: "Key", cell: (row) => h("code", null, row.key) },
    { title: "Status", cell: (row) => badge(row.status, KINDS[row.status]), sort: (row) => row.status },
    { title: "May", cell: (row) => row.scopes.join(", ") },
    { title: "Used and left", cell: (row) => used(row) },
    { title: "Ends", cell: (row) => date(row.expires_at), sort: (row) => row.expires_at ?? "" },
    { title: "", cell: (row) => deeds(row) }] });
  const sheet = h("div");
  const more = h("span", { hidden: true }, deed("Set a budget", "keys", () => setBudget(), { class: "small" }));
  main.append(
    head("Access keys and budgets", "What applications show this gateway, what each may do and what it may spend.",
      h("span", { class: "row" }, deed("Make a key", "keys", () => make(), { class: "main", id: "make-key" }))),
    h("div", { class: "filters" }, field("Tenant", tenant)),
    card("Access keys", null, list.element),
    card("Budgets", more, sheet));
  const of = () => query({ tenant: tenant.value });

  async function refresh() {
    if (tenant.options.length === 0) {
      const ids = await tenants(page.signal);
      const wanted = page.query.get("tenant") ?? "default";
      tenant.replaceChildren(...ids.map((id) => h("option", { value: id, selected: id === wanted }, id)));
    }
    const [answer, all] = await Promise.all([get("/access-keys" + of(), page.signal), budgets(page.signal)]);
    list.update(answer.data.sort((one, other) => order(one) - order(other)));
    more.hidden = all === null;
    budgetTable(sheet, all, tenant.value, dropBudget);
  }

  async function make() {
    const inputs = limitInputs({});
    const name = h("input", { name: "name", required: true, maxlength: "64" });
    const scopes = h("fieldset", { class: "row" }, h("legend", { class: "hidden-text" }, "May"), ...SCOPES.map((scope) =>
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "scope", value: scope, checked: scope === "inference" }), scope)));
    let made = null;
    const done = await ask({ title: "Make an access key", confirm: "Make", fields: [field("Name", name), scopes, ...inputs.fields],
      act: async (form) => {
        const chosen = [...form.querySelectorAll("[name=scope]:checked")].map((box) => box.value);
        made = await change("POST", "/access-keys" + of(), { name: name.value, scopes: chosen, limits: inputs.read() });
      } });
    if (done) await reveal({ title: `The key ${made.name}`, sentence: "Copy it now: only its digest is kept, and it is never shown again.", text: made.key });
    await refresh();
  }

  async function amend(row) {
    const inputs = limitInputs(row.limits ?? {});
    const name = h("input", { name: "name", required: true, value: row.name });
    const done = await ask({ title: `Amend ${row.name}`, sentence: "It holds from the next request on. An empty field means no such limit.", confirm: "Save",
      fields: [field("Name", name), ...inputs.fields],
      act: () => change("PATCH", `/access-keys/${row.id}${of()}`, { name: name.value, limits: { ...row.limits, ...inputs.all() } }) });
    if (done) toast(`${row.name} is amended.`);
    await refresh();
  }

  async function rotate(row) {
    const overlap = h("input", { name: "overlap", type: "number", min: "0", max: "1440", value: "15", required: true });
    let made = null;
    const done = await ask({ title: `Rotate ${row.name}`, sentence: "A new text with the same rights; the old one is good for a while longer.", confirm: "Rotate",
      fields: [field("Both are good for, minutes", overlap)],
      act: async () => (made = await change("POST", `/access-keys/${row.id}/rotate${of()}`, { overlap_minutes: Number(overlap.value) })) });
    if (done) await reveal({ title: `The new key ${made.name}`, sentence: `Copy it now. The old one ends ${when(made.old_expires_at)}.`, text: made.key });
    await refresh();
  }

  async function revoke(row) {
    const done = await ask({ title: `Revoke ${row.name}?`, sentence: "Whoever shows it is refused from the next request on. This cannot be undone.", confirm: "Revoke", danger: true,
      act: () => change("DELETE", `/access-keys/${row.id}${of()}`) });
    if (done) toast(`${row.name} is revoked.`);
    await refresh();
  }

  function deeds(row) {
    if (row.status !== "active") return "";
    return h("span", { class: "row end" }, deed("Amend", "keys", () => amend(row), { class: "small" }),
      deed("Rotate", "keys", () => rotate(row), { class: "small" }), deed("Revoke", "keys", () => revoke(row), { class: "small danger" }));
  }

  async function setBudget() {
    const amount = h("input", { name: "amount", type: "number", min: "0.01", step: "0.01", required: true });
    const period = h("select", { name: "period" }, ...PERIODS.map((name) => h("option", { selected: name === "month" }, name)));
    const hard = h("label", { class: "check" }, h("input", { type: "checkbox", name: "hard", checked: true }), "Refuse requests beyond it");
    const done = await ask({ title: `A budget of ${tenant.value}`, confirm: "Set", fields: [field("Dollars", amount), field("Period", period), hard],
      act: (form) => change("POST", "/budgets" + of(), { amount_usd: Number(amount.value), period: period.value, hard: form.querySelector("[name=hard]").checked }) });
    if (done) toast("The budget is set.");
    await refresh();
  }

  async function dropBudget(row) {
    const done = await ask({ title: `Remove the budget of ${money(row.limit)} a ${row.period}?`, confirm: "Remove", danger: true,
      act: () => change("DELETE", "/budgets" + query({ tenant: row.tenant, access_key: row.key, period: row.period })) });
    if (done) toast("The budget is removed.");
    await refresh();
  }

  page.every(5, refresh);
}

const order = (row) => ({ active: 0, expired: 1 })[row.status] ?? 2;

/** Fields of the limits that most keys have, filled from those of a key. */
function limitInputs(limits) {
  const budget = Array.isArray(limits.budget) ? limits.budget[0] : limits.budget;
  const number = (name, value) => h("input", { name, type: "number", min: "1", step: "1", value: value ?? "" });
  const requests = number("requests", limits.requests_per_minute);
  const tokens = number("tokens", limits.tokens_per_minute);
  const spend = h("input", { name: "budget", placeholder: "$50/month", value: typeof budget === "string" ? budget : "" });
  const all = () => ({
    requests_per_minute: requests.value ? Number(requests.value) : undefined,
    tokens_per_minute: tokens.value ? Number(tokens.value) : undefined,
    budget: spend.value || undefined,
  });
  return {
    fields: [field("Requests a minute", requests), field("Tokens a minute", tokens), field("Budget", spend, "Such as $50/month, or $5/day soft.")],
    all,
    read: all,
  };
}

function used(row) {
  const lines = [];
  const { limits = {}, usage } = row;
  for (const one of usage?.budgets ?? []) {
    lines.push(h("span", { class: "small" }, `${money(one.spent)} of ${money(one.limit)} a ${one.period}`), bar(one.limit ? one.spent / one.limit : 0, `${row.name}: ${percent(one.limit ? one.spent / one.limit : 0)} of its budget used`));
  }
  for (const [name, left, most] of [["requests", usage?.requests_remaining, limits.requests_per_minute], ["tokens", usage?.tokens_remaining, limits.tokens_per_minute]]) {
    if (typeof left !== "number") continue;
    const share = typeof most === "number" && most > 0 ? 1 - left / most : 0;
    lines.push(h("span", { class: "small" }, `${count(left)} ${name} left this minute`), bar(share, `${row.name}: ${percent(share)} of its ${name} used`));
  }
  return lines.length ? h("div", { class: "stack" }, ...lines) : h("span", { class: "faint" }, "no limits");
}

let sheetTable = null;

function budgetTable(sheet, all, tenant, drop) {
  if (all === null) return fill(sheet, absent());
  if (sheetTable?.element.parentNode !== sheet) {
    sheetTable = table({ caption: "Budgets", key: (row) => row.tenant + row.key + row.period + row.origin, nothing: ["No budget", "Set one to bound what this tenant may spend."], columns: [
      { title: "Of", cell: (row) => (row.key ? h("code", null, "…" + row.key.slice(-6)) : row.tenant) },
      { title: "Used", cell: (row) => h("div", { class: "stack" }, h("span", { class: "small" }, `${money(row.spent)} of ${money(row.limit)}`), bar(row.limit ? row.spent / row.limit : 0, `${percent(row.limit ? row.spent / row.limit : 0)} used`)) },
      { title: "Period", cell: (row) => row.period },
      { title: "Beyond it", cell: (row) => (row.hard ? badge("refused", "warn") : badge("served", "")) },
      { title: "Set by", cell: (row) => row.origin },
      { title: "Begins anew", cell: (row) => (row.resets ? when(row.resets) : "never") },
      { title: "", cell: (row) => (row.origin === "operator" ? deed("Remove", "keys", () => drop(row), { class: "small danger" }) : "") }] });
    sheet.replaceChildren(sheetTable.element);
  }
  sheetTable.update(all.filter((row) => row.tenant === tenant));
}
