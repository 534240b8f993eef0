// The Responses API by openai-node: towards its own maker, and towards models of Anthropic and Google.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { ACCESS_KEY, start } from "./stand.mjs";

const WEATHER = {
  type: "function",
  name: "get_weather",
  description: "The weather of a place",
  parameters: {
    type: "object",
    properties: { place: { type: "string" }, days: { type: "integer" } },
    required: ["place", "days"],
    additionalProperties: false,
  },
  strict: true,
};
const CITY = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
/** What every request says: nothing is stored, and the reasoning comes back sealed. */
const STATELESS = { store: false, include: ["reasoning.encrypted_content"], reasoning: { effort: "medium", summary: "auto" } };
/** Google seals a call and not the thinking before it, so there the seal is to be found in the call's id. */
const MODELS = [
  { model: "gpt-5.6-terra", provider: "openai", seals: true },
  { model: "claude-sonnet-4-6", provider: "anthropic", seals: true },
  { model: "claude-sonnet-5-5", provider: "anthropic", seals: true },
  { model: "gemini-3.1-pro-preview", provider: "google", seals: false },
];

let stand;
let client;

before(async () => {
  stand = await start();
  client = new OpenAI({ baseURL: stand.base, apiKey: ACCESS_KEY, timeout: 20_000 });
});
after(() => stand?.stop());

const user = (text) => ({ role: "user", content: text });

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** Asks with a stream and gives the response of its last event, having checked the order of all of them. */
async function streamed(body) {
  const events = await collect(await client.responses.create({ ...body, stream: true }));
  assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
  assert.equal(events[0].type, "response.created");
  const open = new Map();
  for (const event of events) {
    if (event.type === "response.output_item.added") open.set(event.output_index, event.item.type);
    if (event.type === "response.output_item.done") assert.ok(open.delete(event.output_index), "added before it is done");
  }
  assert.equal(open.size, 0, "every item is done");
  const { type, response } = events.at(-1);
  assert.equal(type, "response.completed");
  const deltas = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
  const text = response.output.flatMap((item) => (item.type === "message" ? item.content.map((part) => part.text) : []));
  assert.equal(deltas.join(""), text.join(""));
  return response;
}

const textOf = (response) =>
  response.output.flatMap((item) => (item.type === "message" ? item.content.map((part) => part.text ?? "") : [])).join("");
const reasoningOf = (response) => response.output.filter((item) => item.type === "reasoning");

for (const { model, provider, seals } of MODELS) {
  test(`${model}: a response`, async () => {
    const { data: response, response: raw } = await client.responses
      .create({ model, instructions: "Be kind.", input: "Say hello — «grüß dich» 你好 🙂", ...STATELESS })
      .withResponse();
    assert.deepEqual([response.object, response.status, response.model], ["response", "completed", model]);
    assert.ok(response.output_text);
    assert.ok(response.usage.input_tokens > 0 && response.usage.output_tokens > 0);
    assert.equal(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens);
    assert.equal(response.metadata.provider, provider);
    assert.equal(raw.headers.get("x-igris-provider"), provider);
    assert.ok(response._request_id);
    const [reasoning] = reasoningOf(response);
    assert.ok(reasoning.summary[0].text);
    assert.equal(Boolean(reasoning.encrypted_content), seals, "the thinking comes sealed");
  });

  test(`${model}: a stream`, async () => {
    const body = { model, input: [user("hello")], ...STATELESS };
    const whole = await client.responses.create(body);
    const response = await streamed(body);
    assert.equal(textOf(response), whole.output_text);
    assert.deepEqual(response.output.map((item) => item.type), whole.output.map((item) => item.type));
    assert.equal(response.usage.output_tokens, whole.usage.output_tokens);
    assert.equal(response.metadata.provider, provider);
  });

  test(`${model}: the stream helper`, async () => {
    const pieces = [];
    const stream = client.responses
      .stream({ model, input: "hello", ...STATELESS })
      .on("response.output_text.delta", (event) => pieces.push(event.delta));
    const final = await stream.finalResponse();
    assert.ok(pieces.length > 2);
    assert.equal(pieces.join(""), final.output_text);
  });

  for (const [way, ask] of [["whole", (body) => client.responses.create(body)], ["streamed", streamed]]) {
    test(`${model}: a tool loop without a store, ${way}`, async () => {
      const input = [user("please use the tool")];
      const rest = { model, tools: [WEATHER], ...STATELESS };
      const first = await ask({ ...rest, input });
      const [call, ...others] = first.output.filter((item) => item.type === "function_call");
      assert.deepEqual(others, []);
      assert.equal(call.name, "get_weather");
      const given = JSON.parse(call.arguments);
      assert.deepEqual([typeof given.place, typeof given.days], ["string", "number"]);
      assert.equal(Boolean(reasoningOf(first)[0].encrypted_content), seals);
      input.push(...first.output);
      input.push({ type: "function_call_output", call_id: call.call_id, output: "Rain, 12 degrees" });
      const second = await ask({ ...rest, input });
      assert.ok(textOf(second));
      assert.ok(stand.taps[provider].requests.at(-1).body.includes("Rain, 12 degrees"));
    });
  }

  test(`${model}: JSON by schema`, async () => {
    const format = { type: "json_schema", name: "city", schema: CITY, strict: true };
    const response = await client.responses.parse({ model, input: "where?", text: { format }, store: false });
    assert.equal(typeof response.output_parsed.city, "string");
  });

  test(`${model}: the end of the tokens`, async () => {
    const response = await client.responses.create({
      model,
      input: "sim:tokens=400 hello",
      max_output_tokens: 60,
      store: false,
    });
    assert.equal(response.status, "incomplete");
    assert.equal(response.incomplete_details.reason, "max_output_tokens");
  });

  test(`${model}: a broken stream fails`, async () => {
    for (const fault of ["error@9", "cut@9"]) {
      const events = [];
      const read = async () => {
        const input = `sim:fault=${fault};tokens=50 please`;
        for await (const event of await client.responses.create({ model, input, stream: true, store: false })) events.push(event);
      };
      const thrown = await read().then(() => null, (error) => error);
      assert.ok(!events.some((event) => event.type === "response.completed"), fault);
      // The maker's own way is an event `error`; both are what an agent looks for.
      const told = ["response.failed", "error"].includes(events.at(-1).type);
      assert.ok(told || thrown instanceof OpenAI.APIError, `${fault}: ${thrown} ${JSON.stringify(events.at(-1))}`);
    }
  });
}

test("a conversation moves from one maker to the next, reasoning and all", async () => {
  const input = [user("please use the tool")];
  for (const { model } of [...MODELS, MODELS[0]]) {
    const called = await client.responses.create({ model, input, tools: [WEATHER], ...STATELESS });
    const call = called.output.find((item) => item.type === "function_call");
    input.push(...called.output, { type: "function_call_output", call_id: call.call_id, output: "Rain" });
    const said = await client.responses.create({ model, input, tools: [WEATHER], ...STATELESS });
    assert.ok(said.output_text);
    input.push(...said.output, user("please use the tool"));
  }
});

test("free-text tools", async () => {
  const tool = { type: "custom", name: "note", description: "Takes any text" };
  for (const model of ["gpt-5.6-terra", "claude-sonnet-4-6"]) {
    const input = [user("please use the tool")];
    const first = await streamed({ model, input, tools: [tool], ...STATELESS });
    const call = first.output.find((item) => item.type === "custom_tool_call");
    assert.equal(call.name, "note");
    assert.ok(call.input, model);
    input.push(...first.output, { type: "custom_tool_call_output", call_id: call.call_id, output: "noted" });
    assert.ok(textOf(await streamed({ model, input, tools: [tool], ...STATELESS })));
  }
});

test("what needs a store is refused where there is none", async () => {
  const body = { model: "claude-sonnet-4-6", input: "go on", previous_response_id: "resp_1" };
  await assert.rejects(client.responses.create(body), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "previous_response_id");
    return true;
  });
});

test("its own maker stores and remembers", async () => {
  const first = await client.responses.create({ model: "gpt-5.6-terra", input: "hello" });
  const second = await client.responses.create({ model: "gpt-5.6-terra", input: "go on", previous_response_id: first.id });
  assert.ok(second.output_text);
});

test("a bad access key and an unknown model", async () => {
  const stranger = new OpenAI({ baseURL: stand.base, apiKey: "sk-igris-nobody-knows-this-key-0000" });
  const asked = (who, model) => who.responses.create({ model, input: "hello" });
  await assert.rejects(asked(stranger, "claude-sonnet-4-6"), OpenAI.AuthenticationError);
  await assert.rejects(asked(client, "gpt-none-of-this-name"), OpenAI.NotFoundError);
});
