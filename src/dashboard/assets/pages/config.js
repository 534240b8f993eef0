// Which configuration is live, what a reload would change, and the trial that another one may be on.

import { badge, card, empty, fill, h, head } from "../dom.js";
import { can, change, get } from "../api.js";
import { count, countdown, percent, when } from "../format.js";
import { ask, deed, toast } from "../dialog.js";
import { diff, folded } from "../diff.js";
import { soon } from "../live.js";
import { table } from "../table.js";

export async function render(main, page) {
  const facts = h("dl", { class: "facts" });
  const trial = h("div");
  const changes = h("div");
  const warnings = h("ul", { class: "notes", hidden: true, "aria-label": "Warnings" });
  const entries = table({ caption: "Entries", nothing: ["No entry", "Every model is served under its own name."], columns: [
    { title: "Name", cell: (row) => row.name, sort: (row) => row.name },
    { title: "Policy", cell: (row) => row.policy },
    { title: "Targets", wrap: true, cell: (row) => row.targets.map((target) => `${target.provider} / ${target.model}${target.weight !== 1 ? ` × ${target.weight}` : ""}`).join(", ") }] });
  main.append(
    head("Configuration", "Changed whole or not at all; what fails changes nothing.", h("span", { class: "row" }, deed("Reload", "operate", reload, { class: "main", id: "reload" }))),
    warnings,
    h("div", { class: "grid" }, card("Live", null, facts), card("Trial", null, trial)),
    card("What a reload would change", null, changes),
    card("Model entries", null, entries.element));

  async function reload() {
    const done = await ask({ title: "Reload the configuration?", sentence: "The file is read again. If it is refused, everything stays as it is.", confirm: "Reload",
      act: async () => {
        const answer = await change("POST", "/reload");
        toast(answer.changed ? `Version ${answer.version} is live.` : "Nothing has changed.");
      } });
    if (done) soon();
    await refresh();
  }

  async function decide(verb) {
    const [title, sentence] = verb === "accept" ? ["Accept the configuration on trial?", "It stays, and the trial is over."] : ["Revert to the one before?", "The one on trial is taken back and refused from now on."];
    const done = await ask({ title, sentence, confirm: verb === "accept" ? "Accept" : "Revert", danger: verb === "revert", act: () => change("POST", "/rollout/" + verb) });
    if (done) toast(verb === "accept" ? "It stays." : "It is taken back.");
    await refresh();
  }

  async function refresh() {
    const [config, routes] = await Promise.all([get("/config", page.signal), get("/routes", page.signal)]);
    show(facts, config);
    fill(warnings, ...(config.warnings ?? []).map((text) => h("li", { class: "warn" }, text)));
    warnings.hidden = !config.warnings?.length;
    trialCard(trial, config.rollout, decide);
    entries.update(routes.entries);
    await compare(changes, page.signal);
  }
  page.every(5, refresh);
}

function show(facts, config) {
  const signer = config.trust ? `${config.trust.threshold} of ${config.trust.keys.join(", ")}` : "no signature is asked for";
  fill(facts, ...[
    ["Version", count(config.version)],
    ["Digest", h("code", null, config.digest)],
    ["From", config.source],
    ["Line", config.config_id ?? "none"],
    ["Signed by", signer],
    ["Good until", config.expires_at ? h("span", { class: config.expired ? "bad" : "" }, when(config.expires_at)) : "for good"],
  ].flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function trialCard(place, rollout, decide) {
  const on = rollout?.on_trial;
  const last = rollout?.last;
  const lastLine = last ? h("p", { class: "faint" }, `Last: version ${last.version} ${last.outcome} ${when(last.at)}, ${last.why}`) : null;
  if (!on) {
    if (place.dataset.trial !== "") fill(place, empty("Nothing on trial", "A configuration with `[rollout] watch` is tried before it stays."), lastLine);
    else fill(place, ...place.childNodes);
    place.dataset.trial = "";
    return;
  }
  const share = on.requests ? on.failed / on.requests : 0;
  const text = h("div", { class: "stack" },
    h("p", null, `Version ${on.version} is tried for `, h("b", null, countdown(on.seconds_left)), ` more; it falls back to version ${on.falls_back_to}.`),
    h("p", null, `${count(on.requests)} requests, ${percent(share)} failed; more than ${percent(on.error_rate)} takes it back.`), lastLine);
  if (place.dataset.trial !== on.digest) {
    place.dataset.trial = on.digest;
    place.replaceChildren(h("div"), h("div", { class: "row" }, deed("Accept", "operate", () => decide("accept"), { class: "main" }), deed("Revert", "operate", () => decide("revert"), { class: "danger" })));
  }
  fill(place.firstChild, text);
}

async function compare(place, signal) {
  if (!can("operate")) return fill(place, empty("Only for the role operate", "A configuration says where keys are and how the network looks."));
  const { live, offered } = await get("/config/texts", signal);
  if (!offered) return fill(place, empty("No file", "This gateway is configured by its environment."));
  const problems = offered.problems ?? [];
  const wrong = problems.length ? h("ul", { class: "notes" }, ...problems.map((text) => h("li", { class: "bad" }, text))) : null;
  if (offered.text === null) return fill(place, wrong);
  if (!live) return fill(place, wrong, empty("The live text is not kept", "It is kept from the first reload on."));
  if (live.digest === offered.digest) return fill(place, wrong, empty("Nothing", "The file is what is live. Keys and certificates that it names are read again all the same."));
  const lines = diff(live.text, offered.text);
  const shown = lines ? folded(lines) : [{ kind: "skipped", text: "The texts have too little in common to compare." }];
  const sign = { added: "+ ", removed: "- ", same: "  ", skipped: "" };
  fill(place, wrong, h("p", { class: "row" }, badge(`version ${live.version} is live`, ""), badge(offered.version === null ? "would be refused" : `version ${offered.version} would be loaded`, offered.version === null ? "bad" : "mark")),
    h("div", { class: "diff", tabindex: "0", role: "group", "aria-label": "Differences" }, ...shown.map((line) => h("div", { class: line.kind }, sign[line.kind] + line.text))));
}
