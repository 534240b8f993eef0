// What a user of Anthropic's client gets when the model is OpenAI's or Google's.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { ACCESS_KEY, start } from "./stand.mjs";

const WEATHER = {
  name: "get_weather",
  description: "The weather of a place",
  input_schema: {
    type: "object",
    properties: { place: { type: "string" }, days: { type: "integer" } },
    required: ["place", "days"],
  },
};
/** Models of others, the provider of each, and whether its thinking is to be seen and must come back. */
const MODELS = [
  { model: "gpt-4.1", provider: "openai", rest: {} },
  { model: "gpt-5.6-terra", provider: "openai", rest: { thinking: { type: "adaptive" } } },
  {
    model: "gemini-3.1-pro-preview",
    provider: "google",
    rest: { thinking: { type: "adaptive", display: "summarized" } },
    thinks: true,
  },
];

let stand;
let client;

before(async () => {
  stand = await start();
  client = new Anthropic({ baseURL: stand.url, apiKey: ACCESS_KEY, timeout: 20_000 });
});
after(() => stand?.stop());

const question = (model, content, rest = {}) => ({
  model,
  max_tokens: 2000,
  messages: [{ role: "user", content }],
  ...rest,
});
const textOf = (message) => message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
const kindsOf = (message) => message.content.map((block) => block.type);

for (const { model, provider, rest, thinks } of MODELS) {
  test(`${model}: a message`, async () => {
    const { data: message, response } = await client.messages
      .create(question(model, "Say hello — «grüß dich» 你好 🙂", { system: "Be kind.", ...rest }))
      .withResponse();
    assert.deepEqual([message.type, message.role, message.model], ["message", "assistant", model]);
    assert.ok(textOf(message));
    assert.equal(message.stop_reason, "end_turn");
    assert.equal(message.stop_sequence, null);
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
    assert.equal(response.headers.get("x-igris-provider"), provider);
    assert.ok(Number(response.headers.get("x-igris-cost-usd")) > 0);
    assert.ok(message._request_id);
    assert.equal(message._request_id, response.headers.get("request-id"));
    assert.equal(kindsOf(message).includes("thinking"), Boolean(thinks));
  });

  test(`${model}: the stream helper`, async () => {
    const whole = await client.messages.create(question(model, "hello", rest));
    const pieces = [];
    const thoughts = [];
    const stream = client.messages
      .stream(question(model, "hello", rest))
      .on("text", (text) => pieces.push(text))
      .on("thinking", (text) => thoughts.push(text));
    const message = await stream.finalMessage();
    assert.ok(pieces.length > 2);
    assert.equal(pieces.join(""), textOf(whole));
    assert.equal(await stream.finalText(), textOf(whole));
    assert.deepEqual(kindsOf(message), kindsOf(whole));
    assert.equal(message.stop_reason, whole.stop_reason);
    assert.equal(message.usage.output_tokens, whole.usage.output_tokens);
    assert.equal(thoughts.length > 0, Boolean(thinks));
    assert.ok(stream.request_id);
  });

  for (const [way, ask] of [
    ["whole", (body) => client.messages.create(body)],
    ["streamed", (body) => client.messages.stream(body).finalMessage()],
  ]) {
    test(`${model}: a tool loop, ${way}`, async () => {
      const asked = question(model, "please use the tool", { ...rest, tools: [WEATHER] });
      const first = await ask(asked);
      assert.equal(first.stop_reason, "tool_use");
      const call = first.content.find((block) => block.type === "tool_use");
      assert.equal(call.name, "get_weather");
      assert.deepEqual([typeof call.input.place, typeof call.input.days], ["string", "number"]);
      assert.equal(kindsOf(first).includes("thinking"), Boolean(thinks));
      const result = { type: "tool_result", tool_use_id: call.id, content: [{ type: "text", text: "Rain, 12 degrees" }] };
      const messages = [...asked.messages, { role: "assistant", content: first.content }, { role: "user", content: [result] }];
      const second = await ask({ ...asked, messages });
      assert.equal(second.stop_reason, "end_turn");
      assert.ok(textOf(second));
      assert.ok(stand.taps[provider].requests.at(-1).body.includes("Rain, 12 degrees"));
    });
  }

  test(`${model}: the tool runner`, async () => {
    const inputs = [];
    const run = (input) => {
      inputs.push(input);
      return "Rain, 12 degrees";
    };
    const runner = client.beta.messages.toolRunner(
      question(model, "please use the tool", { ...rest, tools: [{ ...WEATHER, run, parse: (input) => input }] }),
    );
    const last = await runner;
    assert.equal(inputs.length, 1);
    assert.equal(typeof inputs[0].place, "string");
    assert.equal(last.stop_reason, "end_turn");
    assert.ok(textOf(last));
  });

  test(`${model}: two tools at once`, async () => {
    const tools = [WEATHER, { ...WEATHER, name: "get_traffic" }];
    const asked = question(model, "please use the tools", { ...rest, tools });
    const first = await client.messages.stream(asked).finalMessage();
    const calls = first.content.filter((block) => block.type === "tool_use");
    assert.deepEqual(calls.map((call) => call.name), ["get_weather", "get_traffic"]);
    const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: call.name })).reverse();
    const messages = [...asked.messages, { role: "assistant", content: first.content }, { role: "user", content: results }];
    assert.ok(textOf(await client.messages.create({ ...asked, messages })));
  });

  test(`${model}: tokens are counted, and said to be an estimate`, async () => {
    const { max_tokens: _, ...body } = question(model, "How many tokens are these words?", { tools: [WEATHER] });
    const { data, response } = await client.messages.countTokens(body).withResponse();
    assert.ok(data.input_tokens > 5);
    assert.equal(response.headers.get("x-igris-estimated"), "true");
  });

  test(`${model}: the end of the tokens`, async () => {
    const message = await client.messages.create({ ...question(model, "sim:tokens=400 hello", rest), max_tokens: 60 });
    assert.equal(message.stop_reason, "max_tokens");
  });

  test(`${model}: a broken stream throws`, async () => {
    const pieces = [];
    const read = async () => {
      const stream = await client.messages.create({ ...question(model, "sim:fault=error@6;tokens=50 please"), stream: true });
      for await (const event of stream) pieces.push(event);
    };
    await assert.rejects(read(), (error) => {
      assert.ok(error instanceof Anthropic.APIError);
      return true;
    });
    assert.equal(pieces[0].type, "message_start");
  });
}

test("a model of its own passes as it is", async () => {
  const body = question("claude-sonnet-4-6", "hello", { metadata: { user_id: "somebody" } });
  const message = await client.messages.create(body);
  assert.ok(textOf(message));
  assert.deepEqual(stand.taps.anthropic.lastBody(), body);
});

test("a bad access key", async () => {
  const stranger = new Anthropic({ baseURL: stand.url, apiKey: "sk-igris-nobody-knows-this-key-0000" });
  await assert.rejects(stranger.messages.create(question("gpt-4.1", "hello")), (error) => {
    assert.ok(error instanceof Anthropic.AuthenticationError);
    assert.equal(error.type, "authentication_error");
    assert.ok(error.requestID);
    return true;
  });
});

test("an unknown model", async () => {
  await assert.rejects(client.messages.create(question("gpt-none-of-this-name", "hello")), (error) => {
    assert.ok(error instanceof Anthropic.NotFoundError);
    assert.equal(error.type, "not_found_error");
    return true;
  });
});

test("a tool of its maker's own is left out, and named", async () => {
  const tools = [{ type: "web_search_20260101", name: "web_search" }, WEATHER];
  const { response } = await client.messages.create(question("gpt-4.1", "hello", { tools })).withResponse();
  assert.match(response.headers.get("x-igris-dropped"), /web_search/);
  assert.deepEqual(stand.taps.openai.lastBody().tools.map((tool) => tool.function.name), ["get_weather"]);
});

test("what cannot be said to the provider is refused by the member's name", async () => {
  const picture = { type: "image", source: { type: "file", file_id: "file_1" } };
  await assert.rejects(client.messages.create(question("gpt-4.1", [picture])), (error) => {
    assert.ok(error instanceof Anthropic.BadRequestError);
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.error.error.details.param, /^messages/);
    return true;
  });
});

test("a refused credential and a provider that is down", async () => {
  for (const [model, status] of [["refused", 502], ["down", 503]]) {
    await assert.rejects(client.messages.create(question(model, "hello")), (error) => {
      assert.ok(error instanceof Anthropic.InternalServerError);
      assert.equal(error.status, status);
      assert.equal(error.headers.get("x-should-retry"), "false");
      return true;
    });
  }
});

// Last: the gateway is right to leave a provider alone for a while afterwards.
test("a rate limit", async () => {
  await assert.rejects(client.messages.create(question("mistral-small-latest", "sim:fault=429 please")), (error) => {
    assert.ok(error instanceof Anthropic.RateLimitError);
    assert.equal(error.type, "rate_limit_error");
    return true;
  });
});
