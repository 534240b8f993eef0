// The frame: who is signed in, which page is shown, and how it looks. Pages stand behind the `#`, so that each has an address.

import { leave, session, start } from "./api.js";
import { h, icon, say } from "./dom.js";
import { begin, live, watch } from "./live.js";
import { recolour } from "./plot.js";
import { toast } from "./dialog.js";
import * as overview from "./pages/overview.js";
import * as providers from "./pages/providers.js";
import * as keys from "./pages/keys.js";
import * as access from "./pages/access.js";
import * as costs from "./pages/costs.js";
import * as decisions from "./pages/decisions.js";
import * as events from "./pages/events.js";
import * as config from "./pages/config.js";
import * as alerts from "./pages/alerts.js";

const PAGES = [
  ["overview", "Overview", overview, "M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-3H4zM14 7h6V4h-6z"],
  ["providers", "Providers", providers, "M5 7h14M5 12h14M5 17h14M8 7v.01M8 12v.01M8 17v.01"],
  ["keys", "Provider keys", keys, "M14.5 9.5a4 4 0 1 0-4 4l1.5 0 1.5 1.5h2v2h2v2h3v-3z"],
  ["access", "Access keys", access, "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z"],
  ["costs", "Costs", costs, "M4 19h16M6 16V9M11 16V5M16 16v-5"],
  ["decisions", "Decisions", decisions, "M6 4v6a4 4 0 0 0 4 4h8M14 10l4 4-4 4M6 4v16"],
  ["events", "Events & audit", events, "M5 5h14v14H5zM8 9h8M8 12h8M8 15h5"],
  ["config", "Configuration", config, "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4"],
  ["alerts", "Alerts", alerts, "M12 4a5 5 0 0 1 5 5v4l2 3H5l2-3V9a5 5 0 0 1 5-5zM10 19h4"],
];

const main = document.getElementById("main");
const THEMES = { "": "dark", dark: "light", light: "" };
let stop = null;
let turn = 0;

function where() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  return { name: parts[0] || "overview", parts: parts.slice(1), query: new URLSearchParams(search ?? "") };
}

async function show() {
  if (location.hash === "#main") return main.focus();
  const { name, parts, query } = where();
  const page = PAGES.find((page) => page[0] === name);
  stop?.();
  stop = null;
  const mine = (turn += 1);
  for (const link of document.querySelectorAll("#links a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  openMenu(false);
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  document.title = (page ? page[1] : "Nothing here") + " · Igris";
  main.replaceChildren();
  scrollTo(0, 0);
  if (!page) {
    main.append(h("h1", null, "Nothing here"), h("p", null, h("a", { href: "#/overview" }, "To the overview")));
    return;
  }
  const ended = new AbortController();
  const cleanups = [];
  const context = {
    parts,
    query,
    signal: ended.signal,
    onStop: (cleanup) => cleanups.push(cleanup),
    watch: (listener) => cleanups.push(watch(listener)),
    every: (seconds, work) => cleanups.push(every(seconds, work)),
    title: (text) => (document.title = text + " · Igris"),
  };
  stop = () => {
    ended.abort();
    cleanups.forEach((cleanup) => cleanup());
  };
  try {
    await page[2].render(main, context);
  } catch (error) {
    if (mine === turn && error.name !== "AbortError") main.append(h("p", { class: "note-box bad", role: "alert" }, "This page cannot be shown: " + error.message));
  }
  // Whoever followed a link hears where they are.
  if (mine === turn && turn > 1) main.focus({ preventScroll: true });
}

/** Work now and then, not while hidden; a failure waits for the next time. */
function every(seconds, work) {
  let [timer, over] = [0, false];
  let failures = 0;
  const round = async () => {
    if (!document.hidden) {
      try {
        await work();
        failures = 0;
      } catch (error) {
        failures += 1;
        if (error.name !== "AbortError" && error.status && failures === 1) toast(error.message, "bad");
      }
    }
    if (!over) timer = setTimeout(round, 1000 * Math.min(seconds * 2 ** failures, 60));
  };
  round();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}

function openMenu(open) {
  document.getElementById("pages").classList.toggle("open", open);
  document.getElementById("menu").setAttribute("aria-expanded", String(open));
}

function dress() {
  const theme = localStorage.getItem("igris-theme") ?? "";
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  const button = document.getElementById("theme");
  say(button, theme ? { light: "Light", dark: "Dark" }[theme] : "Auto");
  button.setAttribute("aria-label", `Colours: ${button.textContent}. Change`);
  recolour();
}

function frame() {
  const links = PAGES.map(([name, title, , path]) =>
    h("li", null, h("a", { href: "#/" + name, "data-page": name }, icon(path), title)),
  );
  document.getElementById("links").append(...links);
  const roles = session.roles.length ? session.roles.join(", ") : "read only";
  say(document.getElementById("who"), `${session.user} (${roles})`);
  document.getElementById("logout").addEventListener("click", leave);
  document.getElementById("menu").addEventListener("click", () =>
    openMenu(!document.getElementById("pages").classList.contains("open")),
  );
  document.getElementById("theme").addEventListener("click", () => {
    const next = THEMES[localStorage.getItem("igris-theme") ?? ""];
    if (next) localStorage.setItem("igris-theme", next);
    else localStorage.removeItem("igris-theme");
    dress();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  watch((what) => {
    if (what !== "state") return;
    const line = document.getElementById("connection");
    say(line, live.state);
    line.className = "connection " + (live.state === "live" ? "live" : live.state.startsWith("no") ? "lost" : "");
  });
}

// A page that is left takes its questions back; whatever else goes wrong is said.
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name !== "AbortError" && !event.reason?.status) return;
  event.preventDefault();
  if (event.reason.status && event.reason.status !== 401) toast(event.reason.message, "bad");
});

try {
  await start();
  document.body.dataset.roles = session.roles.join(" ");
  frame();
  dress();
  begin();
  addEventListener("hashchange", show);
  await show();
} catch (error) {
  if (error.status !== 401) main.replaceChildren(h("p", { class: "note-box bad", role: "alert" }, "The dashboard cannot begin: " + error.message));
}
