// What happens, as it happens; and the audit log: who changed what, and whether the log holds together.

import { badge, card, field, fill, h, head, patch } from "../dom.js";
import { change, get, query } from "../api.js";
import { count, time, when } from "../format.js";
import { deed } from "../dialog.js";
import { live } from "../live.js";
import { table } from "../table.js";
import { tenants } from "../shapes.js";

export async function render(main, page) {
  const kind = h("select", { id: "kind", onchange: () => feed() }, h("option", { value: "" }, "all kinds"));
  const search = h("input", { id: "event-search", type: "search", autocomplete: "off", oninput: () => feed() });
  const events = h("ol", { class: "lines", id: "events" });
  const scroller = h("div", { class: "feed", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "Events", tabindex: "0" }, events);
  const tenant = h("select", { id: "tenant", onchange: () => audit(true) }, h("option", { value: "" }, "all"));
  const proof = h("p", { role: "status" });
  const log = table({ caption: "Audit log", key: (row) => row.sequence, nothing: ["Nothing changed yet", "Each change leaves a row here."], columns: [
    { title: "No.", number: false, cell: (row) => count(row.sequence), sort: (row) => row.sequence },
    { title: "At", cell: (row) => when(row.at), sort: (row) => row.sequence },
    { title: "Who", cell: (row) => row.who, sort: (row) => row.who },
    { title: "What", cell: (row) => h("code", null, row.what), sort: (row) => row.what },
    { title: "To", cell: (row) => h("code", { title: row.target }, shorten(row.target)) },
    { title: "Tenant", cell: (row) => row.tenant ?? "–" },
    { title: "Before", cell: (row) => shorten(row.before) || "–" },
    { title: "After", cell: (row) => shorten(row.after) || "–" }] });
  const older = h("button", { type: "button", class: "small", onclick: () => audit(false) }, "Older rows");
  main.append(
    head("Events and audit", "What happens as it happens, and who changed what."),
    card("Events", badge("live", "good"), h("div", { class: "stack" }, h("div", { class: "filters" }, field("Kind", kind), field("Search", search)), scroller)),
    card("Audit log", h("span", { class: "row" }, older, deed("Verify the log", "read", verify, { class: "small", id: "verify" })),
      h("div", { class: "stack" }, h("div", { class: "filters" }, field("Tenant", tenant)), proof, log.element)));

  function feed() {
    const kinds = [...new Set(live.events.map((event) => event.kind))].sort();
    const known = [...kind.options].slice(1).map((option) => option.value);
    for (const name of kinds.filter((name) => !known.includes(name))) kind.append(h("option", { value: name }, name));
    const word = search.value.trim().toLowerCase();
    const fitting = live.events.filter((event) => (!kind.value || event.kind === kind.value) && (!word || event.text.toLowerCase().includes(word)));
    if (fitting.length === 0) return events.replaceChildren(h("li", null, h("span", null, "No event fits.")));
    patch(events, fitting.slice(0, 200).map((event) => h("li", { "data-keep": event.at + event.sequence }, h("time", { datetime: event.at }, time(event.at)), h("b", null, event.kind), h("span", null, event.text))));
  }

  let rows = [];
  let first = Infinity;
  async function audit(fresh) {
    if (tenant.options.length === 1) tenant.append(...(await tenants(page.signal)).map((id) => h("option", { value: id }, id)));
    const limit = 200;
    const before = fresh ? null : Math.max(0, first - limit - 1);
    // A tenant's rows are found from the beginning; the newest ones of all from the end.
    const after = tenant.value ? 0 : before;
    const answer = await get("/audit" + query({ tenant: tenant.value, limit, after }), page.signal);
    const found = answer.data;
    const known = new Set(found.map((row) => row.sequence));
    rows = fresh === true && tenant.value !== audit.tenant ? found : [...found, ...rows.filter((row) => !known.has(row.sequence))];
    audit.tenant = tenant.value;
    first = Math.min(first, ...found.map((row) => row.sequence));
    older.hidden = tenant.value !== "" || first <= 1;
    log.update(rows.sort((one, other) => other.sequence - one.sequence));
  }

  async function verify() {
    proof.textContent = "Verifying…";
    try {
      const found = await change("POST", "/audit/verify", {});
      proof.className = "note-box " + (found.whole ? "good" : "bad");
      proof.textContent = found.whole ? `The log is whole: ${count(found.rows)} rows, ending at ${found.head}.` : `The log does not hold together: ${found.finding}`;
    } catch (error) {
      proof.className = "note-box bad";
      proof.textContent = error.message;
    }
  }

  page.watch((what) => what === "events" && feed());
  page.every(5, () => audit(true));
}

const shorten = (text) => (text && text.length > 20 ? text.slice(0, 8) + "…" + text.slice(-6) : (text ?? ""));

