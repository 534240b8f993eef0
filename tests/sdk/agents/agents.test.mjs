// Coding agents as people run them, each before models of other makers: they ask, run the tool the model calls, and answer.
//
// An agent gets a home and a folder to work in of its own, no variable of ours but the ones below, and no network but the
// loopback address of the gateway. The simulated model calls the tool that the prompt names, with the input that stands there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { ACCESS_KEY, start } from "./stand.mjs";

/** How long one run of an agent may take. */
const RUN_MS = 60_000;
/** What the agent is to find in its folder. */
const TREASURE = "treasure-of-the-test.txt";
/** Names that Codex knows, so that it speaks as it does to OpenAI's own models; the gateway maps them to others. */
const ALIASES = {
  "gpt-5.6-sol": { provider: "anthropic", model: "claude-sonnet-5-5" },
  "gpt-5.6-luna": { provider: "google", model: "gemini-3.1-pro-preview" },
};

let stand;

before(async () => (stand = await start(ALIASES)));
after(() => stand?.stop());

/** A package's folder. */
const folder = (name) => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

/** Runs a program of a package in a fresh home; gives what it said, its exit code and the folder it worked in. */
async function run(script, words, environment) {
  const home = mkdtempSync(join(process.env.IGRIS_SCRATCH ?? tmpdir(), "agent-"));
  const work = join(home, "work");
  mkdirSync(work);
  writeFileSync(join(work, TREASURE), "gold\n");
  const env = { PATH: process.env.PATH, HOME: home, LANG: "C.UTF-8", NO_PROXY: "127.0.0.1", TERM: "dumb", ...environment(home) };
  const child = spawn(process.execPath, [script, ...words(work)], { cwd: work, env, stdio: ["ignore", "pipe", "pipe"] });
  const said = { out: "", errors: "" };
  child.stdout.on("data", (data) => (said.out += data));
  child.stderr.on("data", (data) => (said.errors += data));
  const late = setTimeout(() => child.kill("SIGKILL"), RUN_MS);
  const code = await new Promise((resolve) => child.on("close", resolve));
  clearTimeout(late);
  return { ...said, code, what: `${code}\n${said.out}\n${said.errors}` };
}

/** The requests that a provider got while `action` ran. */
async function seen(provider, action) {
  const before = stand.taps[provider].requests.length;
  const result = await action();
  return { result, requests: stand.taps[provider].requests.slice(before).map((request) => JSON.parse(request.body)) };
}

// ---- Claude Code ------------------------------------------------------------------------------------------------------------

const CLAUDE = join(folder("@anthropic-ai/claude-code"), "cli-wrapper.cjs");

/** `claude -p` with its telemetry, updates and other traffic of its own switched off. */
function claude(prompt, model) {
  const words = () => ["-p", prompt, "--model", model, "--output-format", "json", "--allowedTools", "Bash(ls)"];
  const environment = () => ({
    ANTHROPIC_BASE_URL: stand.url,
    ANTHROPIC_API_KEY: ACCESS_KEY,
    ANTHROPIC_DEFAULT_HAIKU_MODEL: model,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    DISABLE_AUTOUPDATER: "1",
    DISABLE_ERROR_REPORTING: "1",
    DISABLE_TELEMETRY: "1",
  });
  return run(CLAUDE, words, environment);
}

for (const [provider, model] of [["openai", "gpt-4.1"], ["google", "gemini-3.1-pro-preview"]]) {
  test(`Claude Code works on ${model}`, async () => {
    const input = JSON.stringify({ command: "ls", description: "List the folder" });
    const prompt = `Please use the tool \`Bash\` with \`${input}\`.`;
    const { result, requests } = await seen(provider, () => claude(prompt, model));
    assert.equal(result.code, 0, result.what);
    const told = JSON.parse(result.out);
    assert.equal(told.is_error, false, result.what);
    assert.equal(told.num_turns, 2, result.what);
    assert.ok(told.result, result.what);
    assert.deepEqual(told.permission_denials, []);
    const last = JSON.stringify(requests.at(-1));
    assert.ok(last.includes(TREASURE), "the model is told what the tool found");
  });
}

test("Claude Code says what is wrong with its key", async () => {
  const words = () => ["-p", "hello", "--model", "gpt-4.1"];
  const environment = () => ({
    ANTHROPIC_BASE_URL: stand.url,
    ANTHROPIC_API_KEY: "sk-igris-nobody-knows-this-key-0000",
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  });
  const { result, requests } = await seen("openai", () => run(CLAUDE, words, environment));
  assert.notEqual(result.code, 0, result.what);
  assert.match(result.out + result.errors, /key/i);
  assert.deepEqual(requests, []);
});

// ---- Codex ------------------------------------------------------------------------------------------------------------------

const CODEX = join(folder("@openai/codex"), "bin", "codex.js");

/** `codex exec` with a provider that is the gateway; its own sandbox is off, as the folder is a throwaway one. */
function codex(prompt, model) {
  const words = () => ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json", prompt];
  const environment = (home) => {
    const place = join(home, "codex");
    mkdirSync(place);
    writeFileSync(
      join(place, "config.toml"),
      `model = "${model}"
model_provider = "igris"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.igris]
name = "Igris"
base_url = "${stand.base}"
env_key = "IGRIS_KEY"
wire_api = "responses"
`,
    );
    return { CODEX_HOME: place, IGRIS_KEY: ACCESS_KEY };
  };
  return run(CODEX, words, environment);
}

/** What the run of a prompt must show. */
async function mustWork(provider, model, prompt) {
  const { result, requests } = await seen(provider, () => codex(prompt, model));
  assert.equal(result.code, 0, result.what);
  const events = result.out.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  const items = events.filter((event) => event.type === "item.completed").map((event) => event.item);
  const ran = items.find((item) => item.type === "command_execution");
  assert.equal(ran?.exit_code, 0, result.what);
  assert.ok(ran.aggregated_output.includes(TREASURE), result.what);
  assert.ok(items.at(-1).type === "agent_message" && items.at(-1).text, result.what);
  const { usage } = events.find((event) => event.type === "turn.completed");
  assert.ok(usage.input_tokens > 0 && usage.output_tokens > 0, result.what);
  assert.equal(requests.length, 2, "one round for each turn: nothing was asked again");
  assert.ok(JSON.stringify(requests.at(-1)).includes(TREASURE), "the model is told what the tool found");
}

for (const [provider, model] of [
  ["anthropic", "claude-sonnet-4-6"],
  ["anthropic", "claude-sonnet-5-5"],
  ["google", "gemini-3.1-pro-preview"],
]) {
  test(`Codex works on ${model}`, async () => {
    await mustWork(provider, model, `Please use the tool \`exec_command\` with \`${JSON.stringify({ cmd: "ls" })}\`.`);
  });
}

// To a model that it knows, Codex offers a tool with free text for input: a program that calls the others.
const PROGRAM = 'text(JSON.stringify(await tools.exec_command({ cmd: "ls" })))';
for (const [provider, model, input] of [
  ["openai", "gpt-5.6-terra", PROGRAM],
  ["anthropic", "gpt-5.6-sol", JSON.stringify({ input: PROGRAM })],
  ["google", "gpt-5.6-luna", JSON.stringify({ input: PROGRAM })],
]) {
  test(`Codex works on a model it knows as ${model}, of ${provider}`, async () => {
    // Anthropic's side of the gateway marks such a tool in its name.
    const name = provider === "anthropic" ? "exec__igris_text" : "exec";
    await mustWork(provider, model, `Please use the tool \`${name}\` with \`${input}\`.`);
  });
}

test("Codex gives up at once on a key that nobody knows", async () => {
  const words = () => ["exec", "--skip-git-repo-check", "--json", "-c", `model_providers.igris.base_url="${stand.base}"`,
    "-c", 'model_providers.igris.name="Igris"', "-c", 'model_providers.igris.env_key="IGRIS_KEY"',
    "-c", 'model_provider="igris"', "-c", 'model="claude-sonnet-4-6"', "hello"];
  const environment = (home) => ({ CODEX_HOME: home, IGRIS_KEY: "sk-igris-nobody-knows-this-key-0000" });
  const { result, requests } = await seen("anthropic", () => run(CODEX, words, environment));
  assert.notEqual(result.code, 0, result.what);
  assert.match(result.out + result.errors, /401/);
  assert.deepEqual(requests, []);
});
