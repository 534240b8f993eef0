// The keys that providers are shown: added, rotated with a grace that can be watched, revoked.

import { badge, bar, card, empty, field, fill, h, head } from "../dom.js";
import { change, get, query } from "../api.js";
import { countdown, count, date, duration, time, words } from "../format.js";
import { ask, deed, toast } from "../dialog.js";
import { table } from "../table.js";
import { tenants } from "../shapes.js";

const KINDS = { active: "good", grace: "mark", pending: "mark", fallback: "warn", retired: "", revoked: "", erased: "" };

export async function render(main, page) {
  const tenant = h("select", { id: "tenant", onchange: () => refresh() });
  const open = h("div", { class: "stack" });
  const list = table({ caption: "Provider keys", key: (row) => row.id + row.status, nothing: ["No key yet", "Add the first one: requests need it."], columns: [
    { title: "Key", cell: (row) => h("span", { title: row.id }, h("code", null, row.key)), sort: (row) => row.key },
    { title: "Provider", cell: (row) => row.provider, sort: (row) => row.provider },
    { title: "Status", cell: (row) => badge(row.status, KINDS[row.status]), sort: (row) => row.status },
    { title: "Added", cell: (row) => date(row.created_at), sort: (row) => row.created_at },
    { title: "Age", number: true, cell: (row) => age(row), sort: (row) => row.age_days },
    { title: "Timeout", number: true, cell: (row) => timeoutText(row.config) },
    { title: "", cell: (row) => deeds(row) }] });
  main.append(
    head("Provider keys", "What providers are shown. Their text comes in here and never comes out again.",
      h("span", { class: "row" }, deed("Add a key", "keys", () => add(), { class: "main", id: "add-key" }))),
    h("div", { class: "filters" }, field("Tenant", tenant)),
    card("Rotations under way", null, open),
    card("Keys", h("span", { class: "faint small" }, "rotate them every 90 days"), list.element));

  let providers = [];
  const cards = new Map();

  async function refresh() {
    if (tenant.options.length === 0) {
      const ids = await tenants(page.signal);
      const wanted = page.query.get("tenant") ?? "default";
      tenant.replaceChildren(...ids.map((id) => h("option", { value: id, selected: id === wanted }, id)));
    }
    const of = query({ tenant: tenant.value });
    providers = (await get("/providers", page.signal)).data.filter((row) => !row.keyless).map((row) => row.name);
    const [rotations, ...lists] = await Promise.all([
      get("/rotations" + of, page.signal), ...providers.map((name) => get(`/providers/${encodeURIComponent(name)}/keys${of}`, page.signal))]);
    list.update(lists.flatMap((answer) => answer.data).sort((one, other) => order(one) - order(other)));
    show(rotations.data, open, cards, decide);
  }

  const path = (name) => `/providers/${encodeURIComponent(name)}/keys`;
  const of = () => query({ tenant: tenant.value });

  async function add() {
    const provider = h("select", { name: "provider", required: true }, ...providers.map((name) => h("option", null, name)));
    const key = h("input", { name: "key", type: "password", autocomplete: "off", required: true, spellcheck: "false" });
    const done = await ask({ title: "Add a provider key", sentence: "It is sealed at once and only ever shown as its last letters.", confirm: "Add",
      fields: [field("Provider", provider), field("Key", key, "As the provider gave it.")],
      act: async () => warn(await change("POST", path(provider.value) + of(), { api_key: key.value })) });
    if (done) toast("The key is added.");
    await refresh();
  }

  async function rotate(row) {
    const key = h("input", { name: "new-key", type: "password", autocomplete: "off", required: true, spellcheck: "false" });
    const grace = h("input", { name: "grace", type: "number", min: "1", max: "1440", step: "0.5", value: "15", required: true });
    const canary = h("input", { name: "canary", type: "number", min: "1", max: "100", value: "100", required: true });
    const done = await ask({ title: `Rotate ${row.key}`, sentence: "Both keys are good during the grace. The new one is promoted when it has proved itself; otherwise everything stays as it is.", confirm: "Rotate",
      fields: [field("New key", key), field("Grace, minutes", grace, "1 to 1440."), field("Try the new key first, % of requests", canary)],
      act: async () => warn(await change("POST", path(row.provider) + "/rotate" + of(), { new_api_key: key.value, grace_period_minutes: Number(grace.value), canary_percent: Number(canary.value), key_id: row.id })) });
    if (done) toast("The rotation has begun.");
    await refresh();
  }

  async function revoke(row) {
    const done = await ask({ title: `Revoke ${row.key}?`, sentence: `Requests to ${row.provider} stop using it at once, and it is erased. This cannot be undone.`, confirm: "Revoke", danger: true,
      act: () => change("DELETE", `${path(row.provider)}/${row.id}${of()}`) });
    if (done) toast("The key is revoked.");
    await refresh();
  }

  async function decide(rotation, verb) {
    const [title, sentence] = verb === "complete"
      ? ["Complete the rotation now?", "The new key takes over at once; the old one is erased after a short wait."]
      : ["Cancel the rotation?", "The old key stays, and the new one is erased."];
    const done = await ask({ title, sentence, confirm: verb === "complete" ? "Complete" : "Cancel rotation", danger: verb === "cancel",
      act: () => change("POST", `/rotations/${rotation.rotation_id}/${verb}${of()}`) });
    if (done) toast(verb === "complete" ? "The new key is promoted." : "The rotation is cancelled.");
    await refresh();
  }

  function deeds(row) {
    if (["revoked", "erased", "retired", "fallback"].includes(row.status)) return "";
    return h("span", { class: "row end" },
      row.rotation_id ? null : deed("Rotate", "keys", () => rotate(row), { class: "small" }),
      row.rotation_id ? null : deed("Revoke", "keys", () => revoke(row), { class: "small danger" }));
  }

  page.every(2, refresh);
  const ticking = setInterval(() => cards.forEach((card) => card.tick()), 500);
  page.onStop(() => clearInterval(ticking));
}

const order = (row) => ({ active: 0, grace: 0, pending: 0, fallback: 1 })[row.status] ?? 2;

function warn(answer) {
  for (const warning of answer?.warnings ?? []) toast(warning, "bad");
}

function age(row) {
  return row.rotation_due ? badge(`${row.age_days} d, due`, "warn") : `${row.age_days} d`;
}

function timeoutText(config) {
  const seconds = config?.timeout ?? (config?.timeout_ms ?? 0) / 1000;
  return seconds ? (typeof seconds === "number" ? duration(seconds) : seconds) : "–";
}

/** Keeps a card for each rotation, so that its buttons stay where they are while its figures move. */
function show(rotations, open, cards, decide) {
  const shown = rotations.filter((one) => ["in_progress", "held"].includes(one.status));
  const ended = rotations.filter((one) => !shown.includes(one)).slice(0, 3);
  const ids = new Set([...shown, ...ended].map((one) => one.rotation_id + one.status));
  for (const [id, card] of cards) if (!ids.has(id)) cards.delete(id) && card.element.remove();
  for (const rotation of [...shown, ...ended]) {
    const id = rotation.rotation_id + rotation.status;
    if (!cards.has(id)) {
      cards.set(id, rotationCard(rotation, decide));
      open.append(cards.get(id).element);
    }
    cards.get(id).update(rotation);
  }
  const nothing = open.querySelector(".empty");
  if (cards.size === 0 && !nothing) open.append(empty("No rotation under way", "Rotate a key below; nobody notices."));
  if (cards.size > 0) nothing?.remove();
}

function rotationCard(first, decide) {
  const left = h("span", { class: "big", role: "timer" });
  const state = h("span");
  const counts = h("div", { class: "stack" });
  const held = h("p", { class: "note-box warn", hidden: true });
  const undecided = ["in_progress", "held"].includes(first.status);
  let ends = 0;
  const buttons = undecided
    ? h("span", { class: "row" }, deed("Complete now", "keys", () => decide(first, "complete"), { class: "main" }), deed("Cancel", "keys", () => decide(first, "cancel"), { class: "danger" }))
    : null;
  const element = h("article", { class: "rotation", "aria-label": `Rotation at ${first.provider}` },
    h("div", { class: "row" }, h("h3", null, first.provider), state, h("span", { class: "space" }), left, buttons), held, counts);
  const self = {
    element,
    tick() {
      const text = undecided ? (ends > Date.now() ? countdown((ends - Date.now()) / 1000) + " of grace left" : "grace is over") : "";
      if (left.textContent !== text) left.textContent = text;
    },
    update(rotation) {
      ends = Date.now() + 1000 * rotation.seconds_left;
      const kind = { in_progress: "mark", held: "warn", completed: "good", cancelled: "" }[rotation.status];
      fill(state, badge(words(rotation.state === "promoted" ? "promoted" : rotation.status), kind));
      held.hidden = !rotation.held_because;
      held.textContent = rotation.held_because ?? "";
      fill(counts, counted("New key", rotation.new_key_id, rotation.counts.new), counted("Old key", rotation.old_key_id, rotation.counts.old),
        undecided ? null : h("p", { class: "faint small" }, `Since ${time(rotation.updated_at)}.`));
      self.tick();
    },
  };
  return self;
}

function counted(label, id, { good, refused }) {
  const text = `${count(good)} answered, ${count(refused)} refused`;
  return h("div", { class: "row" }, h("b", null, label), h("code", { title: id }, "…" + id.slice(-6)), h("span", null, text),
    refused > 0 ? bar(refused / (good + refused), `${label}: ${text}`) : null);
}
