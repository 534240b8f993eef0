// The HTML report of `igris-load` as its reader meets it: opened from a file, in both colours, wide and narrow, with and without a pointer.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";

import { SCRATCH, browser, packages, within } from "./stand.mjs";

const PICTURES = join(SCRATCH, "pictures");
const REPORT = join(SCRATCH, "report.html");
const RESULT = join(SCRATCH, "report.json");
const LIMIT_MS = 60_000;
// What a provider may call a model is no markup.
const MODEL = "<img src=x onerror=window.taken=1>";

assert.ok(process.env.IGRIS_LOAD, "IGRIS_LOAD must name a program");

let tools = null;
try {
  tools = packages();
} catch (error) {
  it("has its pinned packages", { skip: `npm cannot install them: ${error.message.trim()}` });
}

/** Runs igris-load to its end: its exit code and what it said. */
function load(words) {
  const child = spawn(process.env.IGRIS_LOAD, words, { stdio: ["ignore", "pipe", "pipe"] });
  const late = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
  return new Promise((resolve) =>
    child.on("close", (code) => {
      clearTimeout(late);
      resolve({ code, said });
    }),
  );
}

/** Starts a simulated provider that fails one request in ten. */
async function mock() {
  const words = ["mock", "--listen", "127.0.0.1:0", "--model", MODEL, "--latency", "5ms", "--event-gap", "2ms", "--fault", "every 10th -> 503"];
  const child = spawn(process.env.IGRIS_LOAD, words, { stdio: ["ignore", "pipe", "pipe"] });
  process.on("exit", () => child.kill("SIGKILL"));
  let said = "";
  child.stdout.on("data", (data) => (said += data));
  await within(20_000, () => said.includes("http://"));
  return { url: said.match(/http:\/\/\S+/)[0], stop: () => child.kill("SIGTERM") };
}

describe("report", { skip: tools === null }, () => {
  let context, complaints, page, result;

  before(async () => {
    mkdirSync(PICTURES, { recursive: true });
    const provider = await mock();
    const words = ["run", "--url", provider.url, "--model", MODEL, "--rate", "40", "--duration", "4s", "--stream"];
    const ran = await load([...words, "--include-usage", "--slo", "ttft<500ms", "--live", "never", "--html", REPORT, "--json", RESULT]);
    provider.stop();
    // One in ten failed, which is what the exit code says; or that this machine was too busy to judge.
    assert.ok([1, 4].includes(ran.code), ran.said);
    result = JSON.parse(readFileSync(RESULT));
    ({ context, complaints } = await browser(tools, "null", "report-profile"));
    page = context.pages()[0] ?? (await context.newPage());
    await page.goto(pathToFileURL(REPORT).href);
  });

  after(async () => {
    await context?.close();
  });

  it("shows what the result says", async () => {
    const body = await page.locator("body").innerText();
    assert.equal(result.requests, 160);
    assert.equal(result.outcomes.server_error, 16);
    assert.match(body, /160/);
    assert.match(body, /VALID|DEGRADED|INVALID/);
    assert.match(body, /server_error|server error/i);
    assert.ok((await page.locator("figure svg").count()) >= 3, "percentiles, time series, outcomes");
    assert.ok((await page.locator("table th").count()) > 5);
  });

  it("takes a model's name for text", async () => {
    assert.equal(await page.evaluate(() => window.taken), undefined);
    assert.ok((await page.locator("body").innerText()).includes(MODEL));
  });

  it("needs nothing but itself", async () => {
    const html = readFileSync(REPORT, "utf8");
    assert.doesNotMatch(html, /(src|href)="(https?:)?\/\//);
    await context.route(/^https?:/, (route) => route.abort());
    await page.reload();
    assert.deepEqual(complaints, []);
  });

  it("reads without a script", async () => {
    const plain = readFileSync(REPORT, "utf8").replace(/<script[\s\S]*?<\/script>/g, "");
    const file = join(SCRATCH, "plain.html");
    writeFileSync(file, plain);
    await page.goto(pathToFileURL(file).href);
    assert.ok((await page.locator("figure svg").count()) >= 3);
    await page.goto(pathToFileURL(REPORT).href);
  });

  for (const scheme of ["light", "dark"]) {
    for (const width of [400, 1400]) {
      it(`is for everybody: ${scheme}, ${width} pixels`, async () => {
        await page.emulateMedia({ colorScheme: scheme });
        await page.setViewportSize({ width, height: 1000 });
        const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
        const said = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
        assert.deepEqual(said, []);
        const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
        assert.ok(inner <= outer, `it scrolls sideways: ${inner} of ${outer}`);
        await page.screenshot({ path: join(PICTURES, `report-${scheme}-${width}.png`), fullPage: true });
      });
    }
  }
});
