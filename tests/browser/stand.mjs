// The stand: `igris demo` as a program, and a chromium with an empty profile that watches what the page does.
//
// The environment names both: IGRIS, CHROMIUM, and IGRIS_SCRATCH for the pinned packages, the profile and the pictures. With IGRIS_ASSETS,
// a folder like src/dashboard, pages are served out of it instead of out of the program: to try a change without a build.

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const SCRATCH = process.env.IGRIS_SCRATCH ?? mkdtempSync(join(tmpdir(), "igris-browser-"));
const START_MS = 20_000;
const INSTALL_MS = 120_000;
const BROWSER_ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** Installs the pinned packages into the scratch folder: the driver, and the text of axe. */
export function packages() {
  const home = join(SCRATCH, "packages");
  mkdirSync(home, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) copyFileSync(join(import.meta.dirname, name), join(home, name));
  const words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  execFileSync("npm", words, { cwd: home, timeout: INSTALL_MS, stdio: ["ignore", "pipe", "pipe"] });
  const from = createRequire(join(home, "package.json"));
  return { chromium: from("playwright-core").chromium, axe: from("axe-core").source };
}

/** Starts `igris demo` on a port whose successor is free too, and reads the links it prints. */
export async function demo() {
  const port = await twoFreePorts();
  const child = spawn(process.env.IGRIS, ["demo", "--listen", `127.0.0.1:${port}`], { stdio: ["ignore", "pipe", "pipe"] });
  // However this process ends, its program ends with it.
  process.on("exit", () => child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const ended = new Promise((resolve) => child.on("close", resolve));
  const find = (pattern) => output.match(pattern)?.[1];
  const said = () => output.match(/^Dashboard: ((http:\/\/127\.0\.0\.1:\d+)\/\?token=(\S+))$/m);
  if (!(await within(START_MS, () => said() || child.exitCode !== null)) || !said()) {
    child.kill("SIGKILL");
    throw new Error(`igris demo printed no link to its dashboard:\n${output}`);
  }
  const [, link, origin, token] = said();
  async function stop() {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 15_000);
    const code = await ended;
    clearTimeout(late);
    return code;
  }
  await within(START_MS, () => output.includes("Ctrl-C ends it."));
  const key = find(/Authorization: Bearer (\S+)'/);
  const viewer = find(/^Token that may only look: (\S+)$/m);
  const providerKeys = find(/^Provider keys to add and to rotate to: (.+)$/m)?.split(", ") ?? [];
  return { link, origin, token, port, key, viewer, providerKeys, gateway: `http://127.0.0.1:${port}`, stop };
}

/** A browser with nothing in its profile, and what went wrong in it: console errors, violations, requests elsewhere. */
export async function browser({ chromium, axe }, origin, profile = "profile") {
  const context = await chromium.launchPersistentContext(join(SCRATCH, profile), {
    executablePath: process.env.CHROMIUM,
    headless: true,
    args: BROWSER_ARGUMENTS,
    viewport: { width: 1280, height: 900 },
  });
  const complaints = [];
  await context.exposeBinding("complain", (_, text) => complaints.push(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.complain(`policy: ${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  // Scripts of the debugger are outside the page's policy, so axe gets in and the policy stays as it is.
  await context.addInitScript({ content: axe });
  context.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  context.on("weberror", (error) => complaints.push(`uncaught: ${error.error()}`));
  context.on("request", (request) => {
    const url = request.url();
    if (new URL(url).origin !== origin && !url.startsWith("data:")) complaints.push(`request elsewhere: ${url}`);
  });
  if (process.env.IGRIS_ASSETS) await context.route("**/assets/**", serve);
  return { context, complaints };
}

const TYPES = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" };

async function serve(route) {
  const name = new URL(route.request().url()).pathname.replace("/assets/", "");
  const path = join(process.env.IGRIS_ASSETS, name.startsWith("vendor/") ? "" : "assets", name);
  await route.fulfill({ body: readFileSync(path), contentType: TYPES[name.split(".").pop()] ?? "text/plain" });
}

/** True as soon as `ready` answers with something true; false when it does not in time. */
export async function within(milliseconds, ready) {
  const end = performance.now() + milliseconds;
  do {
    if (await ready()) return true;
    await sleep(50);
  } while (performance.now() < end);
  return false;
}

async function twoFreePorts() {
  for (let tries = 0; tries < 50; tries += 1) {
    const first = await hold(0);
    const { port } = first.address();
    const second = port < 65535 && (await hold(port + 1).catch(() => null));
    await release(first);
    if (!second) continue;
    await release(second);
    return port;
  }
  throw new Error("no two neighbouring ports are free");
}

function hold(port) {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

function release(server) {
  return new Promise((resolve) => server.close(resolve));
}
