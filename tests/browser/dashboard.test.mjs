// The dashboard of `igris demo` as a person meets it: the way in, what it shows, and whether everybody can use it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { SCRATCH, browser, demo, packages, within } from "./stand.mjs";

const PROVIDERS = ["openai", "mistral", "deepseek"];
const SHOWN_MS = 15_000;

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
    gateway = await demo();
    ({ context, complaints } = await browser(tools, gateway.origin));
    page = context.pages()[0] ?? (await context.newPage());
  });

  after(async () => {
    await context?.close();
    await gateway?.stop();
  });

  const text = (id) => page.locator(`#${id}`).textContent();
  const number = async (id) => Number((await text(id)).replace(/[^\d.]/g, ""));
  const shown = (id) => within(SHOWN_MS, async () => (await number(id)) > 0);

  it("tells a visitor without the token how to get in, and nothing else", async () => {
    for (const path of ["/", "/?token=", `/?token=${"A".repeat(43)}`]) {
      const answer = await page.goto(gateway.origin + path);
      assert.equal(answer.status(), 401, path);
      assert.match(answer.headers()["content-type"], /^text\/plain/);
      assert.match(await page.locator("body").innerText(), /^Open the dashboard by the link/);
    }
    for (const path of ["/api/status", "/api/events", "/dashboard.js", "/dashboard.css", "/nothing"]) {
      assert.equal((await fetch(gateway.origin + path)).status, 401, path);
    }
    assert.deepEqual(await context.cookies(), [], "a refusal sets no cookie");
    // A browser reports a 401 as an error of its own; only those are expected so far.
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
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.expires], [true, "Strict", -1]);
    assert.equal(await page.evaluate(() => document.cookie), "", "no script can read the token");
    assert.ok(!(await page.content()).includes(gateway.token), "the page holds no token");
    // Where "back" leads. The browser's own list of visited links does keep the link that was opened.
    const { entries } = await (await context.newCDPSession(page)).send("Page.getNavigationHistory");
    assert.equal(entries.at(-1).url, `${gateway.origin}/`);
    assert.deepEqual(entries.filter((entry) => entry.url.includes(gateway.token)), []);
    assert.equal((await page.reload()).status(), 200, "the cookie is enough");
  });

  it("shows the version and a gateway at work", async () => {
    assert.ok(await within(SHOWN_MS, async () => (await text("connection")) === "live"));
    const version = execFileSync(process.env.IGRIS, ["--version"], { encoding: "utf8" });
    assert.match(version, new RegExp(`\\b${(await text("version")).replaceAll(".", "\\.")}\\b`));
    assert.match(await text("version"), /^\d+\.\d+\.\d+/);
    const requests = await number("requests");
    assert.ok(await within(SHOWN_MS, async () => (await number("requests")) >= requests + 3), "requests grow");
    for (const id of ["attempts", "tokens-in", "tokens-out", "spend", "rate"]) assert.ok(await shown(id), id);
    assert.match(await text("spend"), /^\$\d/);
    assert.match(await text("uptime"), /^\d\d:\d\d:\d\d$/);
    assert.equal(await text("trouble"), "none");
    const points = await page.locator("#trend polyline").getAttribute("points");
    assert.ok(points.split(" ").length >= 2, "the trend is drawn");
    assert.ok((await page.locator("#events li").count()) > 0, "the feed has events");
  });

  it("shows each provider's latency, tokens and spend", async () => {
    for (const name of PROVIDERS) {
      const row = page.locator("#provider-rows tr", { has: page.locator("th", { hasText: name }) });
      const cells = () => row.locator("td").allTextContents();
      const used = await within(4 * SHOWN_MS, async () => Number((await cells())[0]) > 0);
      assert.ok(used, `${name} is used`);
      const [, , p50, p99, , tokensOut, spend] = await cells();
      for (const latency of [p50, p99]) assert.match(latency, /^[1-9]\d*(\.\d)? m?s$/, name);
      assert.match(tokensOut, /^[1-9]/, name);
      assert.match(spend, /^\$\d+\.\d*[1-9]/, name);
    }
    assert.equal(await page.locator("#provider-rows tr").count(), PROVIDERS.length);
  });

  it("answers what is chosen by keyboard", async () => {
    await page.locator("h1").click();
    await page.reload();
    assert.ok(await shown("requests"));
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip", "the way past the head comes first");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "providers");
    const reached = [];
    for (let presses = 0; presses < 5; presses += 1) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => document.activeElement.id || document.activeElement.className));
    }
    assert.deepEqual(reached, ["wide", "tenant", "period", "wide", "feed"], "everything that scrolls or can be chosen");
    await page.locator("#period").focus();
    const asked = page.waitForRequest((request) => request.url().includes("/api/usage?tenant=default&period=hour"));
    await page.keyboard.type("hour");
    await asked;
    assert.ok(await within(SHOWN_MS, async () => (await page.locator("#usage-rows tr").count()) > PROVIDERS.length));
    const kinds = await page.locator("#usage-rows td:nth-child(2)").allTextContents();
    assert.deepEqual([...new Set(kinds)], ["sum", "provider", "model"]);
  });

  it("has landmarks, table heads and live regions", async () => {
    assert.equal(await page.getByRole("main").count(), 1);
    assert.equal(await page.getByRole("banner").count(), 1);
    assert.equal(await page.getByRole("heading", { level: 1 }).count(), 1);
    assert.equal(await page.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count(), 0);
    for (const name of PROVIDERS) assert.ok(await page.getByRole("rowheader", { name, exact: true }).count() > 0, name);
    for (const name of ["Provider", "p99", "Last error"]) {
      assert.equal(await page.getByRole("columnheader", { name, exact: true }).count(), 1, name);
    }
    assert.equal(await page.getByRole("status").getAttribute("aria-live"), "polite");
    assert.equal(await page.getByRole("log", { name: "Events" }).count(), 1);
  });

  for (const colorScheme of ["light", "dark"]) {
    it(`is accessible and whole in ${colorScheme} colours, wide and narrow`, async () => {
      await page.emulateMedia({ colorScheme });
      const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const brightness = Math.max(...paper.match(/\d+/g).map(Number));
      assert.equal(brightness > 128 ? "light" : "dark", colorScheme, paper);
      for (const [name, width] of [["wide", 1280], ["narrow", 390]]) {
        await page.setViewportSize({ width, height: 900 });
        const { violations, passes } = await page.evaluate(() => window.axe.run(document));
        assert.ok(passes.some((rule) => rule.id === "color-contrast"), "axe looked at colours");
        assert.deepEqual(violations.map((rule) => `${rule.impact} ${rule.id}: ${rule.nodes[0].html}`), [], name);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `${name}: only tables scroll sideways, and the page is ${overflow} px too wide`);
        await page.screenshot({ path: join(SCRATCH, `dashboard-${colorScheme}-${name}.png`), fullPage: true });
      }
      await page.setViewportSize({ width: 1280, height: 900 });
    });
  }

  it("stays quiet: no error, no violation of its policy, no request elsewhere", async () => {
    assert.deepEqual(complaints, []);
    // The watch works: what the policy forbids is noticed.
    await page.evaluate(() => document.body.append(Object.assign(new Image(), { src: "/picture.png" })));
    assert.ok(await within(SHOWN_MS, () => complaints.some((line) => line.startsWith("policy: img-src"))));
  });

  it("says so when the gateway is gone", async () => {
    assert.equal(await gateway.stop(), 0, "the demonstration ends well");
    assert.ok(await within(SHOWN_MS, async () => /^no answer/.test(await text("connection"))));
    assert.match(await page.locator("#connection").getAttribute("class"), /lost/);
  });
});
