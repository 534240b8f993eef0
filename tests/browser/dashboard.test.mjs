// The dashboard of `igris demo` as a person meets it: every page, by mouse and by keyboard, in both colours, wide and narrow.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { SCRATCH, browser, demo, packages, within } from "./stand.mjs";

const PROVIDERS = ["openai", "mistral", "deepseek"];
const PAGES = ["overview", "providers", "providers/openai", "keys", "access", "costs", "decisions", "events", "config", "alerts"];
const PICTURES = join(SCRATCH, "pictures");
const SHOWN_MS = 20_000;
const SHOWN_TEXT_MAX = 4_000;

for (const name of ["IGRIS", "CHROMIUM"]) assert.ok(process.env[name], `${name} must name a program`);

let tools = null;
try {
  tools = packages();
} catch (error) {
  // A test of its own: a suite that is skipped counts as nothing.
  it("has its pinned packages", { skip: `npm cannot install them: ${error.message.trim()}` });
}

describe("dashboard", { skip: tools === null }, () => {
  let gateway, context, complaints, page;

  before(async () => {
    mkdirSync(PICTURES, { recursive: true });
    gateway = await demo();
    ({ context, complaints } = await browser(tools, gateway.origin));
    page = context.pages()[0] ?? (await context.newPage());
    page.setDefaultTimeout(SHOWN_MS);
  });

  after(async () => {
    await context?.close();
    await gateway?.stop();
    console.log(`# pictures: ${PICTURES}`);
  });

  const text = (selector) => page.locator(selector).first().textContent();
  const number = async (selector) => Number((await text(selector)).replace(/[^\d.]/g, ""));
  const soon = async (ready, what) => {
    if (await within(SHOWN_MS, ready)) return;
    // What was there instead is half of the answer.
    const shown = await page.locator("body").innerText();
    assert.fail(`${what}; the page says:\n${shown.slice(0, SHOWN_TEXT_MAX)}`);
  };
  const button = (name) => page.getByRole("button", { name, exact: true }).first();
  const dialog = () => page.locator("dialog[open]");
  const toast = (pattern) => soon(async () => pattern.test(await page.locator("#toasts").textContent()), `says ${pattern}`);
  async function open(name) {
    await page.evaluate((hash) => (location.hash = hash), "#/" + name);
    await page.locator("main h1").waitFor();
  }
  async function row(table, words) {
    const found = page.locator(`table:has(caption:text-is("${table}")) tbody tr`, { hasText: words }).first();
    await found.waitFor();
    return found;
  }
  const ask = (key, body) =>
    fetch(gateway.gateway + "/v1/chat/completions", {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "demo", messages: [{ role: "user", content: "sim:tokens=8 Hello" }], ...body }),
    });

  it("shows a visitor the way in, and nothing else", async () => {
    const answer = await page.goto(gateway.origin + "/#/costs");
    assert.equal(answer.status(), 200);
    assert.equal(new URL(page.url()).pathname, "/login");
    for (const path of ["/api/status", "/api/events", "/session"]) assert.equal((await fetch(gateway.origin + path)).status, 401, path);
    assert.deepEqual(await context.cookies(), [], "a visit sets no cookie");
    assert.deepEqual(complaints, []);
    await look("login");
  });

  it("lets in by the form, to the page that was asked for, and out again", async () => {
    await page.getByLabel("Token").fill("wrong");
    await page.keyboard.press("Enter");
    assert.match(await text("[role=alert]"), /opens nothing here/);
    await page.getByLabel("Token").fill(gateway.token);
    await page.keyboard.press("Enter");
    await page.waitForURL(gateway.origin + "/#/costs");
    await page.getByRole("heading", { level: 1, name: "Costs" }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL("**/login");
    assert.deepEqual(await context.cookies(), [], "no session is left");
    // A browser reports the 401 of the wrong token as an error of its own.
    assert.deepEqual(complaints.filter((line) => !line.includes("status of 401")), []);
    complaints.length = 0;
  });

  it("lets in by the link and takes the token out of the address", async () => {
    const answer = await page.goto(gateway.link);
    assert.equal(answer.status(), 200);
    assert.equal(page.url(), `${gateway.origin}/`);
    assert.match(answer.headers()["content-security-policy"], /^default-src 'none'/);
    const [cookie, ...others] = await context.cookies();
    assert.deepEqual(others, []);
    assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Strict"]);
    assert.notEqual(cookie.value, gateway.token);
    assert.equal(await page.evaluate(() => document.cookie), "", "no script can read the session");
    assert.ok(!(await page.content()).includes(gateway.token), "the page holds no token");
    const { entries } = await (await context.newCDPSession(page)).send("Page.getNavigationHistory");
    assert.deepEqual(entries.filter((entry) => entry.url.includes(gateway.token)), []);
  });

  it("shows a gateway at work", async () => {
    await open("overview");
    await soon(async () => (await text("#connection")) === "live", "live");
    assert.match(await text("#who"), /printed token \(operate, keys\)/);
    const version = execFileSync(process.env.IGRIS, ["--version"], { encoding: "utf8" }).match(/\d+\.\d+\.\d+/)[0];
    assert.ok((await text("main .head p")).includes(version));
    await soon(async () => (await number("#rate")) > 0, "requests a second");
    await soon(async () => (await number("#spend")) > 0, "spend");
    await soon(async () => /\d (µs|ms)/.test(await text("#added-p99")), "added latency");
    await soon(async () => (await page.locator(".uplot canvas").count()) === 2, "two plots");
    await page.getByText("Show as table").first().click();
    await soon(async () => (await page.locator("table:has(caption:text-is('Requests and failed attempts a second')) tbody tr").count()) > 0, "the table behind a plot");
    for (const name of PROVIDERS) await row("Providers", name);
    assert.ok((await page.locator("[aria-label='Latest events'] li").count()) > 0);
  });

  it("opens, closes and resets a breaker", async () => {
    await open("providers/deepseek");
    await button("Open").click();
    await dialog().getByRole("button", { name: "Open" }).click();
    await toast(/deepseek is open/);
    await soon(async () => (await text("main .facts .badge")) === "held open", "held open");
    await open("overview");
    await soon(async () => /deepseek is held open/.test(await text("[aria-label=Alarms]")), "an alarm");
    await open("providers");
    await (await row("Providers", "deepseek")).getByRole("button", { name: "Reset" }).click();
    await dialog().getByRole("button", { name: "Reset" }).click();
    await soon(async () => (await (await row("Providers", "deepseek")).textContent()).includes("healthy"), "healthy again");
  });

  it("draws latency percentiles and the score over time", async () => {
    await open("providers/openai");
    await soon(async () => (await page.locator(".uplot canvas").count()) >= 3, "three plots");
    await soon(async () => /\d (µs|ms|s)/.test(await text("main .plot .legend b")), "the latest percentile");
    await row("Lanes", "gpt-4o-mini");
  });

  it("adds a key, rotates it under a grace that counts down, and promotes the new one", async () => {
    const [second, third] = gateway.providerKeys;
    await open("keys");
    await page.locator("#add-key").click();
    await dialog().getByLabel("Provider").selectOption("openai");
    await dialog().getByLabel("Key").fill(second);
    await dialog().getByRole("button", { name: "Add" }).click();
    await toast(/is added/);
    const added = await row("Provider keys", "ey-2");
    await added.getByRole("button", { name: "Rotate" }).click();
    await dialog().getByLabel("New key", { exact: true }).fill(third);
    await dialog().getByLabel("Grace, minutes").fill("5");
    await dialog().getByRole("button", { name: "Rotate" }).click();
    await toast(/has begun/);
    const rotation = page.locator("article.rotation").first();
    await soon(async () => /^[45]:\d\d of grace left$/.test(await rotation.getByRole("timer").textContent()), "a countdown");
    const first = await rotation.getByRole("timer").textContent();
    await soon(async () => (await rotation.getByRole("timer").textContent()) !== first, "it counts");
    for (let turn = 0; turn < 12; turn += 1) await ask(gateway.key, {});
    await soon(async () => /New key.*[1-9]\d* answered, 0 refused/.test(await rotation.textContent()), "the new key is used");
    await look("rotation");
    await rotation.getByRole("button", { name: "Complete now" }).click();
    await dialog().getByRole("button", { name: "Complete" }).click();
    await toast(/is promoted/);
    await soon(async () => /promoted|completed/.test(await page.locator("article.rotation").first().textContent()), "promoted");
    await row("Provider keys", "ey-3");
    const content = await page.content();
    for (const secret of gateway.providerKeys) assert.ok(!content.includes(secret), "no key stays in the page");
  });

  let secret, request;

  it("makes an access key and shows its text once", async () => {
    await open("access");
    await page.locator("#make-key").click();
    await dialog().getByLabel("Name").fill("browser");
    await dialog().getByLabel("Requests a minute").fill("100");
    await dialog().getByRole("button", { name: "Make" }).click();
    secret = await page.locator("#revealed").textContent();
    assert.match(secret, /^sk-igris-/);
    await page.getByRole("button", { name: "I have kept it" }).click();
    const answer = await ask(secret, {});
    assert.equal(answer.status, 200);
    request = answer.headers.get("x-request-id");
    assert.ok(!(await page.content()).includes(secret), "it is gone from the page");
    await soon(async () => /requests left/.test(await (await row("Access keys", "browser")).textContent()), "what is left");
  });

  it("amends, rotates and revokes it", async () => {
    await (await row("Access keys", "browser")).getByRole("button", { name: "Amend" }).click();
    assert.equal(await dialog().getByLabel("Requests a minute").inputValue(), "100");
    await dialog().getByLabel("Requests a minute").fill("60");
    await dialog().getByLabel("Budget").fill("$5/month");
    await dialog().getByRole("button", { name: "Save" }).click();
    await toast(/is amended/);
    await soon(async () => /of \$5.00 a month/.test(await (await row("Access keys", "browser")).textContent()), "its budget");
    await (await row("Access keys", "browser")).getByRole("button", { name: "Rotate" }).click();
    await dialog().getByLabel("Both are good for, minutes").fill("0");
    await dialog().getByRole("button", { name: "Rotate" }).click();
    const next = await page.locator("#revealed").textContent();
    assert.notEqual(next, secret);
    await page.getByRole("button", { name: "I have kept it" }).click();
    assert.equal((await ask(next, {})).status, 200);
    const living = page.locator("table:has(caption:text-is('Access keys')) tbody tr", { hasText: "browser" }).filter({ has: page.getByRole("button", { name: "Revoke" }) });
    await living.first().getByRole("button", { name: "Revoke" }).click();
    await dialog().getByRole("button", { name: "Revoke" }).click();
    await toast(/is revoked/);
    await soon(async () => (await ask(next, {})).status === 401, "it opens nothing any more");
  });

  it("explains a decision", async () => {
    await open("decisions");
    await row("Decisions", "demo");
    await page.getByLabel("Request id").fill(request);
    await page.keyboard.press("Enter");
    await page.locator("#decision-id").waitFor();
    assert.equal(await text("#decision-id"), request);
    assert.match(await text("main .facts"), /weighted: drawn by weight/);
    assert.equal(await page.locator("table:has(caption:text-is('Candidates')) tbody tr").count(), 4);
    assert.ok((await page.locator(".timeline li").count()) >= 1);
    await look("decision");
    await page.goBack();
    await page.getByLabel("Provider").fill("mistral");
    await soon(async () => {
      const served = await page.locator("table:has(caption:text-is('Decisions')) tbody td:nth-child(5)").allTextContents();
      return served.length > 0 && served.every((name) => name === "mistral");
    }, "the filter");
  });

  it("shows what was spent and hands it out", async () => {
    await open("costs");
    await soon(async () => (await number("#spend")) > 0, "spend");
    const before = await number("#requests");
    for (const name of PROVIDERS) await row("Costs", name);
    await ask(gateway.key, {});
    await soon(async () => (await number("#requests")) > before, "a cost appears");
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Table as CSV" }).click()]);
    assert.match(readFileSync(await download.path(), "utf8"), /^name,requests,input_tokens,output_tokens,cost_usd\n.*openai,/s);
    for (const format of ["CSV", "JSONL"]) {
      const link = page.getByRole("link", { name: "Ledger as " + format });
      if ((await link.count()) === 0) continue;
      const [ledger] = await Promise.all([page.waitForEvent("download"), link.click()]);
      assert.ok(readFileSync(await ledger.path()).length > 0, format);
    }
  });

  it("follows events and verifies the audit log", async () => {
    await open("events");
    await soon(async () => (await page.locator("#events li").count()) > 3, "events");
    await page.getByLabel("Kind").selectOption("breaker");
    await soon(async () => (await page.locator("#events b").allTextContents()).every((kind) => kind === "breaker"), "one kind");
    assert.match(await text("#events"), /breaker.open deepseek by dashboard/);
    await page.getByLabel("Kind").selectOption("");
    await page.getByLabel("Search").fill("no such words");
    await soon(async () => /No event fits/.test(await text("#events")), "a search");
    const audit = await row("Audit log", "breaker.open");
    assert.match(await audit.textContent(), /dashboard/);
    await page.locator("#verify").click();
    await soon(async () => /The log is whole: \d+ rows/.test(await text("main [role=status]")), "verified");
  });

  it("compares, reloads and shows the live configuration", async () => {
    await open("config");
    const digest = await text("main .facts code");
    assert.match(digest, /^[0-9a-f]{64}$/);
    const source = await page.locator("main .facts dd").nth(2).textContent();
    appendFileSync(source, "# a comment of the test\n");
    await soon(async () => /\+ # a comment of the test/.test(await text(".diff").catch(() => "")), "the difference");
    await look("config-difference");
    await page.locator("#reload").click();
    await dialog().getByRole("button", { name: "Reload" }).click();
    await toast(/Version 1 is live/);
    await soon(async () => (await text("main .facts code")) !== digest, "another digest");
    appendFileSync(source, "nonsense = true\n");
    await soon(async () => /would be refused/.test(await text("main")), "a problem is shown before it is loaded");
    await page.locator("#reload").click();
    await dialog().getByRole("button", { name: "Reload" }).click();
    await soon(async () => /refused and nothing changed/.test(await dialog().textContent()), "refused whole");
    await page.keyboard.press("Escape");
    // The browser's own line on the refusal.
    complaints.splice(0, complaints.length, ...complaints.filter((line) => !/status of (422|401)/.test(line)));
  });

  it("shows alerts, or that this build has none", async () => {
    await open("alerts");
    await soon(async () => /Nothing to worry about|Not available|Acknowledge|over/.test(await text("main")), "alerts");
  });

  it("is used by keyboard alone", async () => {
    await open("overview");
    await page.reload();
    await page.locator("#rate").waitFor();
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.dataset.page || document.activeElement.className || document.activeElement.tagName);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "skip", "the way past the frame comes first");
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "main");
    await page.locator("#links a[data-page=overview]").focus();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "keys");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Provider keys" }).waitFor();
    await soon(async () => (await focused()) === "main", "the new page has the focus");
    assert.match(await page.title(), /^Provider keys/);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "add-key");
    await page.keyboard.press("Enter");
    await dialog().waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.name), "provider", "a dialog takes the focus");
    await page.keyboard.press("Escape");
    await soon(async () => (await focused()) === "add-key", "and gives it back");
    assert.equal(await page.getByRole("main").count(), 1);
    assert.equal(await page.getByRole("banner").count(), 1);
    assert.equal(await page.getByRole("navigation", { name: "Pages" }).count(), 1);
    assert.equal(await page.getByRole("heading", { level: 1 }).count(), 1);
  });

  it("remembers the colours that were chosen", async () => {
    await open("overview");
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const before = await paper();
    await page.locator("#theme").click();
    await soon(async () => (await paper()) !== before, "dark");
    await page.reload();
    await soon(async () => (await paper()) !== before, "still dark");
    await page.locator("#theme").click();
    await page.locator("#theme").click();
    assert.equal(await text("#theme"), "Auto");
  });

  for (const colorScheme of ["light", "dark"]) {
    it(`is accessible and whole in ${colorScheme} colours, wide and narrow`, async () => {
      await page.emulateMedia({ colorScheme });
      for (const name of PAGES) {
        await page.setViewportSize({ width: 1280, height: 900 });
        await open(name);
        await page.waitForTimeout(900);
        const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
        const grave = found.violations.map((rule) => `${rule.impact} ${rule.id}: ${rule.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
        assert.deepEqual(grave, [], `${name} in ${colorScheme}`);
        await look(`${name.replace("/", "-")}-${colorScheme}-wide`);
        await page.setViewportSize({ width: 390, height: 844 });
        await page.waitForTimeout(150);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `${name}: only tables scroll sideways, and the page is ${overflow} px too wide`);
        await look(`${name.replace("/", "-")}-${colorScheme}-narrow`);
      }
      await page.setViewportSize({ width: 1280, height: 900 });
    });
  }

  it("lets a token that may only look do nothing else", async () => {
    const other = await browser(tools, gateway.origin, "viewer");
    const viewer = await other.context.newPage();
    await viewer.goto(gateway.origin + "/login#/keys");
    await viewer.getByLabel("Token").fill(gateway.viewer);
    await viewer.keyboard.press("Enter");
    const add = viewer.locator("#add-key");
    await add.waitFor();
    assert.equal(await add.getAttribute("aria-disabled"), "true");
    assert.match(await add.textContent(), /Needs the role keys; you are signed in as viewer, who may only look/);
    await add.click({ force: true });
    assert.equal(await viewer.locator("dialog").count(), 0);
    const status = await viewer.evaluate(async () => {
      const { csrf } = await (await fetch("/session")).json();
      return (await fetch("/api/breakers/openai/open", { method: "POST", headers: { "x-igris-csrf": csrf } })).status;
    });
    assert.equal(status, 403, "the API says no as well");
    await viewer.screenshot({ path: join(PICTURES, "viewer.png") });
    await other.context.close();
  });

  it("stays quiet: no error, no violation of its policy, no request elsewhere", async () => {
    assert.deepEqual(complaints, []);
    const reports = () => page.evaluate(async () => (await (await fetch("/csp-report")).json()).count);
    assert.equal(await reports(), 0, "no browser had to stop anything");
    // The watch works: what the policy forbids is noticed, and reported.
    await page.evaluate(() => document.body.append(Object.assign(new Image(), { src: "data:image/png;base64,AAAA" })));
    await soon(() => complaints.some((line) => line.startsWith("policy: img-src")), "a violation");
    await soon(async () => (await reports()) === 1, "a report");
  });

  it("says so when the gateway is gone", async () => {
    assert.equal(await gateway.stop(), 0, "the demonstration ends well");
    await soon(async () => /^no answer/.test(await text("#connection")), "no answer");
    assert.match(await page.locator("#connection").getAttribute("class"), /lost/);
  });

  async function look(name) {
    await page.screenshot({ path: join(PICTURES, name + ".png"), fullPage: true });
  }
});
