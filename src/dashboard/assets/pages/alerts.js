// What wants somebody's attention: budgets that run out, unusual spend, old keys.

import { absent, badge, card, field, fill, h, head, select } from "../dom.js";
import { change, query } from "../api.js";
import { when, words } from "../format.js";
import { ask, deed, toast } from "../dialog.js";
import { table } from "../table.js";
import { alerts } from "../shapes.js";

export async function render(main, page) {
  const state = select([["", "all"], ["open", "open"], ["over", "over"]], page.query.get("state") ?? "", { id: "state", onchange: () => show() });
  const place = h("div");
  const list = table({ caption: "Alerts", key: (row) => row.id + row.active, nothing: ["Nothing to worry about", "Alerts appear here as they come, and go to the webhooks."], columns: [
    { title: "Kind", cell: (row) => words(row.kind), sort: (row) => row.kind },
    { title: "State", cell: (row) => (row.active ? badge("open", "bad") : row.lasts ? badge("acknowledged", "warn") : badge("over", "good")), sort: (row) => (row.active ? 0 : 1) },
    { title: "What", wrap: true, cell: (row) => row.text },
    { title: "Tenant", cell: (row) => row.tenant ?? "–", sort: (row) => row.tenant },
    { title: "Since", cell: (row) => when(row.at), sort: (row) => row.at },
    { title: "Until", cell: (row) => (row.ended ? when(row.ended) : row.acknowledged ? "seen by " + row.acknowledged : "now") },
    { title: "", cell: (row) => (row.active ? deed("Acknowledge", "operate", () => acknowledge(row), { class: "small" }) : "") }] });
  main.append(head("Alerts", "Budgets that run out, unusual spend or errors, keys that have grown old."), h("div", { class: "filters" }, field("State", state)), card("Alerts", null, place));
  let rows = null;

  function show() {
    if (rows === null) return fill(place, absent());
    if (list.element.parentNode !== place) place.replaceChildren(list.element);
    list.update(rows.filter((row) => !state.value || (state.value === "open") === row.active));
  }

  async function refresh() {
    rows = await alerts(page.signal);
    show();
  }

  async function acknowledge(row) {
    const done = await ask({ title: "Acknowledge this alert?", sentence: row.text, confirm: "Acknowledge", act: () => change("POST", `/alerts/${row.id}/acknowledge` + query({ tenant: row.tenant })) });
    if (done) toast("Acknowledged.");
    await refresh();
  }

  page.every(5, refresh);
}
