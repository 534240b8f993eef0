// What a user of openai-node gets from the gateway, when all is well and when it is not.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import OpenAI from "openai";
import { ACCESS_KEY, start, within } from "./stand.mjs";

const HELLO = [{ role: "user", content: "Say hello — «grüß dich» 你好 🙂" }];
const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: { place: { type: "string" }, days: { type: "integer" } },
      required: ["place", "days"],
    },
  },
};

let stand;
let client;

before(async () => {
  stand = await start();
  client = new OpenAI({ baseURL: stand.base, apiKey: ACCESS_KEY, timeout: 20_000 });
});
after(() => stand?.stop());

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) => chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? "")).join("");
const ask = (content, rest = {}) =>
  client.chat.completions.create({ model: "gpt-4o-mini", messages: [{ role: "user", content }], ...rest });

test("chat, with metadata by name", async () => {
  const response = await client.chat.completions.create({ model: "gpt-4o-mini", messages: HELLO });
  assert.ok(response.choices[0].message.content);
  assert.equal(response.metadata.provider, "openai");
  assert.equal(response.metadata.cost_breakdown.output_tokens, response.usage.completion_tokens);
  assert.ok(response.metadata.cost_usd > 0);
  assert.ok(response._request_id);
});

test("headers of an answer", async () => {
  const { data, response } = await client.chat.completions
    .create({ model: "gpt-4o-mini", messages: HELLO })
    .withResponse();
  assert.equal(response.headers.get("x-igris-provider"), "openai");
  assert.equal(response.headers.get("x-igris-model"), "gpt-4o-mini");
  assert.equal(response.headers.get("x-igris-attempts"), "1");
  assert.ok(Number(response.headers.get("x-igris-overhead-us")) > 0);
  assert.ok(Math.abs(Number(response.headers.get("x-igris-cost-usd")) - data.metadata.cost_usd) < 1e-9);
});

test("a stream says what the whole answer says", async () => {
  const whole = await ask("hello");
  const chunks = await collect(await ask("hello", { stream: true }));
  assert.equal(textOf(chunks), whole.choices[0].message.content);
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0 && !chunk.usage));
  assert.equal(chunks.at(-1).metadata.provider, "openai");
});

test("a stream with usage", async () => {
  const whole = await ask("hello");
  const chunks = await collect(await ask("hello", { stream: true, stream_options: { include_usage: true } }));
  const [last, ...others] = chunks.filter((chunk) => chunk.usage).reverse();
  assert.deepEqual(others, []);
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, whole.usage.completion_tokens);
});

test("tools", async () => {
  const rest = { tools: [WEATHER], tool_choice: "required" };
  const whole = (await ask("hello", rest)).choices[0].message.tool_calls[0];
  assert.equal(whole.function.name, "get_weather");
  assert.deepEqual(Object.keys(JSON.parse(whole.function.arguments)).sort(), ["days", "place"]);
  const chunks = await collect(await ask("hello", { ...rest, stream: true }));
  const pieces = chunks.flatMap((chunk) => chunk.choices.flatMap((choice) => choice.delta.tool_calls ?? []));
  assert.equal(pieces[0].id, whole.id);
  assert.equal(pieces.map((piece) => piece.function.arguments ?? "").join(""), whole.function.arguments);
});

test("JSON by schema", async () => {
  const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
  const response = await ask("hello", {
    response_format: { type: "json_schema", json_schema: { name: "city", schema, strict: true } },
  });
  assert.equal(typeof JSON.parse(response.choices[0].message.content).city, "string");
});

test("the list of models", async () => {
  const names = (await collect(await client.models.list())).map((model) => model.id);
  assert.ok(names.includes("gpt-4o-mini"));
});

test("native fields steer and stay here", async () => {
  const response = await ask("hello", { model: "either", provider: "openai", optimization: "latency" });
  assert.equal(response.metadata.provider, "openai");
  const sent = JSON.parse(stand.taps.openai.chats().at(-1).body);
  assert.ok(!("provider" in sent) && !("optimization" in sent));
});

test("a bad access key", async () => {
  const stranger = new OpenAI({ baseURL: stand.base, apiKey: "sk-igris-nobody-knows-this-key-0000" });
  await assert.rejects(stranger.chat.completions.create({ model: "gpt-4o-mini", messages: HELLO }), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, "invalid_api_key");
    assert.ok(error.requestID);
    return true;
  });
});

test("an unknown model", async () => {
  await assert.rejects(ask("hello", { model: "gpt-none-of-this-name" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
});

test("what the provider refuses", async () => {
  await assert.rejects(ask("hello", { temperature: 99 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    return true;
  });
});

test("a refused credential and a provider that is down", async () => {
  for (const [model, status, code] of [
    ["refused", 502, "provider_authentication_failed"],
    ["down", 503, "all_providers_unavailable"],
  ]) {
    await assert.rejects(ask("hello", { model }), (error) => {
      assert.ok(error instanceof OpenAI.InternalServerError);
      assert.equal(error.status, status);
      assert.equal(error.code, code);
      assert.equal(error.headers.get("x-should-retry"), "false");
      return true;
    });
  }
});

test("a broken stream throws", async () => {
  for (const fault of ["error@3", "cut@3"]) {
    const chunks = [];
    const read = async () => {
      for await (const chunk of await ask(`sim:fault=${fault};tokens=50 please`, { stream: true })) chunks.push(chunk);
    };
    await assert.rejects(read(), OpenAI.APIError);
    assert.ok(chunks.length > 0, "what came before the break is delivered");
  }
});

test("a client that leaves stops the provider", async () => {
  const stream = await ask("sim:tokens=2000;gap=20ms at leisure", { stream: true });
  let seen = 0;
  for await (const _ of stream) if (++seen === 3) break;
  const { connection } = stand.taps.openai.chats().at(-1);
  // The gateway has 100 ms (rule L5); the rest is for a busy test machine.
  assert.ok(await within(1000, () => connection.closed !== null), "the owner goes on paying");
});

test("the sample runs as it is pasted", async () => {
  let text = readFileSync(join(process.env.IGRIS_SAMPLES, "chat.mjs"), "utf8");
  assert.ok(text.includes("http://127.0.0.1:8081") && text.includes("YOUR_IGRIS_API_KEY"));
  text = text.replaceAll("http://127.0.0.1:8081", stand.url).replaceAll("YOUR_IGRIS_API_KEY", ACCESS_KEY);
  const file = new URL("pasted.mjs", import.meta.url);
  writeFileSync(file, text);
  const { stdout } = await promisify(execFile)(process.execPath, [file.pathname]);
  assert.match(stdout, /^.+\nopenai, [0-9.]+ USD\n$/);
});

// Last: the gateway is right to leave a provider alone for a while afterwards.
test("a rate limit costs one round", async () => {
  const before = stand.taps.mistral.chats().length;
  await assert.rejects(ask("sim:fault=429 please", { model: "mistral-small-latest" }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, "rate_limit_exceeded");
    assert.equal(error.headers.get("x-should-retry"), "false");
    const attempts = Number(error.headers.get("x-igris-attempts"));
    assert.ok(attempts >= 1 && attempts <= 3);
    assert.equal(stand.taps.mistral.chats().length - before, attempts);
    return true;
  });
});
