// The test stand: simulated providers, a tap before each, and the gateway in front, all as separate programs.
//
//   client -> igris serve -> tap -> igris-load mock
//
// `openai`, `anthropic`, `google` and `mistral` work, each in its own dialect; `deepseek` refuses the credential the gateway
// has; `xai` does not listen at all. A model is asked for by its bare name where the configuration lists it, and always as
// `provider/model`.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const ACCESS_KEY = "sk-test-access-key-canary-0123456789";
/** A provider: what it speaks, the path of its base address, its models, what the gateway shows it. */
const PROVIDERS = {
  openai: {
    dialect: "openai",
    path: "/v1",
    models: ["gpt-4o-mini", "gpt-4.1", "gpt-5.6-terra"],
    credential: "sk-credential-openai-canary-0123456789",
  },
  anthropic: {
    dialect: "anthropic",
    path: "",
    models: ["claude-sonnet-4-6", "claude-sonnet-5-5"],
    credential: "sk-ant-credential-canary-0123456789",
  },
  google: {
    dialect: "gemini",
    path: "",
    models: ["gemini-3.1-pro-preview"],
    credential: "AIza-credential-google-canary-0123456789",
  },
  mistral: {
    dialect: "openai",
    path: "/v1",
    models: ["mistral-small-latest"],
    credential: "credential-mistral-canary-0123456789",
  },
  deepseek: {
    dialect: "openai",
    path: "/v1",
    models: ["deepseek-v4-flash"],
    credential: "sk-credential-deepseek-canary-0123456789",
    expects: "sk-another-credential-0123456789",
  },
  xai: {
    dialect: "openai",
    path: "/v1",
    models: ["grok-4.5"],
    credential: "xai-credential-canary-0123456789",
    absent: true,
  },
};
const START_MS = 20_000;

/** A child process whose output is kept. */
class Program {
  constructor(words, env = {}) {
    this.output = "";
    this.child = spawn(words[0], words.slice(1), { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on("data", (data) => (this.output += data));
    }
    this.ended = new Promise((resolve) => this.child.on("close", resolve));
    // However this process ends, its programs end with it.
    process.on("exit", () => this.child.kill("SIGKILL"));
  }

  async until(ready, what) {
    const end = Date.now() + START_MS;
    for (;;) {
      const answer = await ready();
      if (answer) return answer;
      if (this.child.exitCode !== null) throw new Error(`${what}: it ended with ${this.child.exitCode}:\n${this.output}`);
      if (Date.now() > end) throw new Error(`${what}: not within ${START_MS} ms:\n${this.output}`);
      await sleep(10);
    }
  }

  async stop() {
    this.child.kill("SIGTERM");
    const late = globalThis.setTimeout(() => this.child.kill("SIGKILL"), 10_000);
    await this.ended;
    clearTimeout(late);
  }
}

/** Forwards to a provider and writes down each request: an observer apart from the gateway's and the simulator's books. */
class Tap {
  constructor(target) {
    this.target = target;
    this.requests = [];
    this.sockets = new Set();
    this.server = net.createServer((client) => this.serve(client));
  }

  async listen() {
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.port = this.server.address().port;
  }

  serve(client) {
    const connection = { closed: null };
    const server = net.connect(this.target, "127.0.0.1");
    let unread = Buffer.alloc(0);
    for (const [from, to] of [[client, server], [server, client]]) {
      this.sockets.add(from);
      from.setNoDelay(true);
      // A reset is one of the ways to leave; `close` follows and ends the other side.
      from.on("error", () => {});
      from.on("close", () => {
        this.sockets.delete(from);
        to.destroy();
      });
      from.on("data", (data) => to.write(data));
    }
    client.on("data", (data) => (unread = this.cut(Buffer.concat([unread, data]), connection)));
    client.on("close", () => (connection.closed = performance.now()));
    client.on("end", () => (connection.closed ??= performance.now()));
  }

  /** Takes whole requests off the front and returns the rest. */
  cut(unread, connection) {
    for (;;) {
      const end = unread.indexOf("\r\n\r\n");
      if (end < 0) return unread;
      const [first, ...lines] = unread.subarray(0, end).toString("latin1").split("\r\n");
      const headers = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
      );
      const length = Number(headers["content-length"] ?? 0);
      const body = unread.subarray(end + 4, end + 4 + length);
      if (body.length < length) return unread;
      this.requests.push({ target: first.split(" ")[1], headers, body: body.toString("utf8"), connection });
      unread = unread.subarray(end + 4 + length);
    }
  }

  chats() {
    return this.requests.filter((request) => request.target.endsWith("/chat/completions"));
  }

  /** The last request's body. */
  lastBody() {
    return JSON.parse(this.requests.at(-1).body);
  }

  async close() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/**
 * Everything a test file needs; `stop` ends all of it and looks for leaked keys. `aliases` are further names of models:
 * `{ name: { provider, model } }`.
 */
export async function start(aliases = {}) {
  const programs = [];
  const taps = {};
  try {
    return await build(programs, taps, aliases);
  } catch (error) {
    await end(programs, taps);
    throw error;
  }
}

async function end(programs, taps) {
  for (const tap of Object.values(taps)) await tap.close();
  for (const program of programs) await program.stop();
}

async function build(programs, taps, aliases) {
  for (const [name, provider] of Object.entries(PROVIDERS).filter(([, provider]) => !provider.absent)) {
    const port = await freePort();
    const program = new Program([
      process.env.IGRIS_LOAD, "mock", "--dialect", provider.dialect, "--listen", `127.0.0.1:${port}`, "--name", name,
      "--key", provider.expects ?? provider.credential, "--latency", "0ms", "--tokens", "16", "--threads", "1",
      ...provider.models.flatMap((model) => ["--model", model]),
    ]);
    programs.push(program);
    await program.until(() => listens(port), `the simulated ${name}`);
    taps[name] = new Tap(port);
    await taps[name].listen();
  }
  const home = mkdtempSync(join(process.env.IGRIS_SCRATCH ?? tmpdir(), "gateway-"));
  const ports = Object.fromEntries(Object.entries(taps).map(([name, tap]) => [name, tap.port]));
  writeFileSync(join(home, "igris.toml"), configuration(home, { ...ports, xai: await freePort() }, aliases));
  const env = { TEST_ACCESS_KEY: ACCESS_KEY };
  for (const [name, { credential }] of Object.entries(PROVIDERS)) env[`TEST_${name.toUpperCase()}_KEY`] = credential;
  const gateway = new Program(
    [
      process.env.IGRIS, "serve", "--config", join(home, "igris.toml"), "--data-dir", home,
      "--listen", "127.0.0.1:0", "--workers", "1",
    ],
    env,
  );
  programs.push(gateway);
  const said = await gateway.until(() => gateway.output.match(/listening on (http:\/\/127\.0\.0\.1:\d+)/), "the gateway");
  const url = said[1];
  await gateway.until(() => fetch(`${url}/v1/health/ready`).then((answer) => answer.ok, () => false), "its readiness");

  async function stop() {
    // The gateway first: it is to find its providers alive to the end.
    await gateway.stop();
    await end(programs, taps);
    const leaks = leaksIn(home, gateway.output);
    if (leaks.length > 0) throw new Error(leaks.join("\n"));
  }
  return { url, base: `${url}/v1`, taps, stop };
}

/** Waits until `ready` answers with something true; false when it never does. */
export async function within(milliseconds, ready) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {
    if (ready()) return true;
    await sleep(10);
  }
  return false;
}

/** Places that hold a key after the gateway has stopped (rule R4). */
function leaksIn(home, output) {
  const places = [["its output", Buffer.from(output)]];
  for (const name of readdirSync(home, { recursive: true })) {
    const path = join(home, name);
    if (statSync(path).isFile()) places.push([path, readFileSync(path)]);
  }
  const secrets = [...Object.values(PROVIDERS).map((provider) => provider.credential), ACCESS_KEY];
  return places.flatMap(([place, text]) =>
    secrets.filter((secret) => text.includes(secret)).map((secret) => `${place} holds ${secret.slice(0, 16)}…`),
  );
}

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

function configuration(home, ports, aliases) {
  const providers = Object.entries(ports).map(
    ([name, port]) => `
[[providers]]
name = "${name}"
base_url = "http://127.0.0.1:${port}${PROVIDERS[name].path}"
allow_private_address = true
api_key = { env = "TEST_${name.toUpperCase()}_KEY" }
`,
  );
  const first = (provider) => ({ provider, model: PROVIDERS[provider].models[0] });
  const models = {
    refused: [first("deepseek")],
    down: [first("xai")],
    either: [first("mistral"), first("openai")],
  };
  for (const [provider, { models: own }] of Object.entries(PROVIDERS)) {
    for (const model of own) models[model] = [{ provider, model }];
  }
  for (const [name, target] of Object.entries(aliases)) models[name] = [target];
  const entries = Object.entries(models).map(
    ([name, targets]) => `
[[models]]
name = "${name}"
policy = "ordered"
targets = [${targets.map(({ provider, model }) => `{ provider = "${provider}", model = "${model}" }`).join(", ")}]
`,
  );
  return `version = 1
[admin]
socket = "${home}/admin.sock"
[store]
url = "sqlite:${home}/igris.db"
[vault]
root_key = { file = "${home}/root.key" }
${providers.join("")}${entries.join("")}
[[tenants]]
id = "default"
[[access_keys]]
name = "test"
tenant = "default"
key = { env = "TEST_ACCESS_KEY" }
`;
}
