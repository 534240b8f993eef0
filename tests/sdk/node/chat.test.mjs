// What a user of openai-node gets from chat completions when the model is Anthropic's or Google's.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { ACCESS_KEY, start, within } from "./stand.mjs";

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a place",
    strict: true,
    parameters: {
      type: "object",
      properties: { place: { type: "string" }, days: { type: "integer" } },
      required: ["place", "days"],
      additionalProperties: false,
    },
  },
};
const TRAFFIC = { ...WEATHER, function: { ...WEATHER.function, name: "get_traffic" } };
const CITY = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const MODELS = [
  { model: "claude-sonnet-4-6", provider: "anthropic" },
  { model: "claude-sonnet-5-5", provider: "anthropic" },
  { model: "gemini-3.1-pro-preview", provider: "google" },
];
/** With and without wanting thoughts; those of Anthropic and Google must then come back with the call they led to. */
const WAYS = [["plain", {}], ["thinking", { reasoning_effort: "medium" }]];

let stand;
let client;

before(async () => {
  stand = await start();
  client = new OpenAI({ baseURL: stand.base, apiKey: ACCESS_KEY, timeout: 20_000 });
});
after(() => stand?.stop());

const user = (content) => ({ role: "user", content });
const ask = (model, content, rest = {}) => client.chat.completions.create({ model, messages: [user(content)], ...rest });

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** What a framework does with chunks by hand: calls are put together by their index, and only known members are kept. */
async function accumulated(body) {
  const message = { role: "assistant", content: "" };
  let finish = null;
  for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
    for (const { delta, finish_reason } of chunk.choices) {
      message.content += delta.content ?? "";
      for (const piece of delta.tool_calls ?? []) {
        message.tool_calls ??= [];
        message.tool_calls[piece.index] ??= { id: piece.id, type: "function", function: { name: "", arguments: "" } };
        message.tool_calls[piece.index].function.name += piece.function.name ?? "";
        message.tool_calls[piece.index].function.arguments += piece.function.arguments ?? "";
      }
      finish = finish_reason ?? finish;
    }
  }
  return { choices: [{ message, finish_reason: finish }] };
}

for (const { model, provider } of MODELS) {
  test(`${model}: a chat`, async () => {
    const messages = [{ role: "developer", content: "Be kind." }, user("Say hello — «grüß dich» 你好 🙂")];
    const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
    assert.ok(data.choices[0].message.content);
    assert.deepEqual([data.object, data.model, data.choices[0].finish_reason], ["chat.completion", model, "stop"]);
    assert.ok(data.usage.prompt_tokens > 0 && data.usage.completion_tokens > 0);
    assert.equal(data.metadata.provider, provider);
    assert.ok(data.metadata.cost_usd > 0);
    assert.equal(response.headers.get("x-igris-provider"), provider);
    assert.ok(data._request_id);
  });

  test(`${model}: a stream says what the whole answer says`, async () => {
    const whole = await ask(model, "hello");
    const rest = { stream: true, stream_options: { include_usage: true } };
    const chunks = await collect(await ask(model, "hello", rest));
    const text = chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? "")).join("");
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
    assert.equal(chunks.at(-1).metadata.provider, provider);
  });

  for (const [way, rest] of WAYS) {
    for (const [kind, create] of [
      ["whole", (body) => client.chat.completions.create(body)],
      ["accumulated by hand", accumulated],
      ["by the stream helper", (body) => client.chat.completions.stream(body).finalChatCompletion()],
    ]) {
      test(`${model}: a tool loop, ${way}, ${kind}`, async () => {
        const messages = [user("please use the tools")];
        const body = { model, tools: [WEATHER, TRAFFIC], ...rest };
        const [{ message, finish_reason }] = (await create({ ...body, messages })).choices;
        assert.equal(finish_reason, "tool_calls");
        assert.deepEqual(message.tool_calls.map((call) => call.function.name), ["get_weather", "get_traffic"]);
        // What a careful application does: no member is sent back that the interface does not know.
        const tool_calls = message.tool_calls.map(({ id, function: { name, arguments: text } }) => {
          assert.equal(typeof JSON.parse(text).place, "string");
          return { id, type: "function", function: { name, arguments: text } };
        });
        messages.push({ role: "assistant", content: message.content || null, tool_calls });
        for (const { id } of tool_calls) messages.push({ role: "tool", tool_call_id: id, content: "Rain, 12 degrees" });
        const [answer] = (await create({ ...body, messages })).choices;
        assert.ok(answer.message.content);
        assert.equal(answer.finish_reason, "stop");
        assert.ok(stand.taps[provider].requests.at(-1).body.includes("Rain, 12 degrees"));
      });
    }
  }

  test(`${model}: the tool runner`, async () => {
    const called = [];
    const run = (input) => {
      called.push(input);
      return "Rain";
    };
    const tool = { type: "function", function: { ...WEATHER.function, function: run, parse: JSON.parse } };
    const runner = client.chat.completions.runTools({ model, messages: [user("please use the tool")], tools: [tool] });
    assert.ok(await runner.finalContent());
    assert.equal(typeof called[0].place, "string");
  });

  test(`${model}: JSON by schema, parsed`, async () => {
    const answer = await client.chat.completions.parse({
      model,
      messages: [user("where?")],
      response_format: { type: "json_schema", json_schema: { name: "city", schema: CITY, strict: true } },
    });
    assert.equal(typeof answer.choices[0].message.parsed.city, "string");
  });

  test(`${model}: the end of the tokens`, async () => {
    const answer = await ask(model, "sim:tokens=400 hello", { max_completion_tokens: 60 });
    assert.equal(answer.choices[0].finish_reason, "length");
  });

  test(`${model}: a broken stream throws`, async () => {
    for (const fault of ["error@6", "cut@6"]) {
      const read = async () => collect(await ask(model, `sim:fault=${fault};tokens=50 please`, { stream: true }));
      await assert.rejects(read(), OpenAI.APIError, fault);
    }
  });

  test(`${model}: a client that leaves stops the provider`, async () => {
    const stream = await ask(model, "sim:tokens=2000;gap=20ms at leisure", { stream: true });
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) break;
    const { connection } = stand.taps[provider].requests.at(-1);
    assert.ok(await within(1000, () => connection.closed !== null), "the owner goes on paying");
  });
}

test("what a provider has no word for is refused by the member's name", async () => {
  await assert.rejects(ask("claude-sonnet-4-6", "hello", { logprobs: true }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "logprobs");
    return true;
  });
});
