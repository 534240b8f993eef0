// What a user of Google's client gets when the model is OpenAI's or Anthropic's.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ApiError, FinishReason, FunctionCallingConfigMode, GoogleGenAI } from "@google/genai";
import { ACCESS_KEY, start } from "./stand.mjs";

const WEATHER = {
  name: "get_weather",
  description: "The weather of a place",
  parametersJsonSchema: {
    type: "object",
    properties: { place: { type: "string" }, days: { type: "integer" } },
    required: ["place", "days"],
  },
};
/** Models of others, the provider of each, and whether its thinking is to be seen and must come back. */
const MODELS = [
  { model: "gpt-4.1", provider: "openai", config: {} },
  { model: "gpt-5.6-terra", provider: "openai", config: { thinkingConfig: { thinkingLevel: "HIGH" } } },
  {
    model: "claude-sonnet-4-6",
    provider: "anthropic",
    config: { thinkingConfig: { includeThoughts: true, thinkingBudget: 2048 }, maxOutputTokens: 4000 },
    thinks: true,
  },
];

let stand;
let client;

before(async () => {
  stand = await start();
  client = new GoogleGenAI({ apiKey: ACCESS_KEY, httpOptions: { baseUrl: stand.url, timeout: 20_000 } });
});
after(() => stand?.stop());

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const partsOf = (answers) => answers.flatMap((answer) => answer.candidates?.[0]?.content?.parts ?? []);
const textOf = (answers) => partsOf(answers).map((part) => (part.thought ? "" : (part.text ?? ""))).join("");
const thinksIn = (answers) => partsOf(answers).some((part) => part.thought);

for (const { model, provider, config, thinks } of MODELS) {
  test(`${model}: generateContent`, async () => {
    const contents = "Say hello — «grüß dich» 你好 🙂";
    const answer = await client.models.generateContent({
      model,
      contents,
      config: { ...config, systemInstruction: "Be kind." },
    });
    assert.ok(answer.text);
    assert.equal(answer.modelVersion, model);
    assert.equal(answer.candidates[0].finishReason, FinishReason.STOP);
    assert.ok(answer.usageMetadata.promptTokenCount > 0 && answer.usageMetadata.candidatesTokenCount > 0);
    assert.equal(thinksIn([answer]), Boolean(thinks));
    const headers = answer.sdkHttpResponse.headers;
    assert.equal(headers["x-igris-provider"], provider);
    assert.ok(Number(headers["x-igris-cost-usd"]) > 0);
    const sent = JSON.stringify(stand.taps[provider].lastBody());
    assert.ok(sent.includes(contents) && sent.includes("Be kind."));
  });

  test(`${model}: generateContentStream`, async () => {
    const whole = await client.models.generateContent({ model, contents: "hello", config });
    const chunks = await collect(await client.models.generateContentStream({ model, contents: "hello", config }));
    assert.ok(chunks.length > 2);
    assert.equal(textOf(chunks), whole.text);
    assert.equal(thinksIn(chunks), Boolean(thinks));
    assert.equal(chunks.at(-1).candidates[0].finishReason, FinishReason.STOP);
    assert.equal(chunks.at(-1).usageMetadata.candidatesTokenCount, whole.usageMetadata.candidatesTokenCount);
  });

  for (const [way, ask] of [
    ["whole", async (request) => [await client.models.generateContent(request)]],
    ["streamed", async (request) => collect(await client.models.generateContentStream(request))],
  ]) {
    test(`${model}: a function is called and answered, ${way}`, async () => {
      const request = { model, config: { ...config, tools: [{ functionDeclarations: [WEATHER] }] } };
      const contents = [{ role: "user", parts: [{ text: "please use the tool" }] }];
      const first = await ask({ ...request, contents });
      const [call, ...others] = first.flatMap((answer) => answer.functionCalls ?? []);
      assert.deepEqual(others, []);
      assert.equal(call.name, "get_weather");
      assert.deepEqual([typeof call.args.place, typeof call.args.days], ["string", "number"]);
      assert.equal(thinksIn(first), Boolean(thinks));
      contents.push({ role: "model", parts: partsOf(first) });
      const functionResponse = { id: call.id, name: call.name, response: { output: "Rain, 12 degrees" } };
      contents.push({ role: "user", parts: [{ functionResponse }] });
      const second = await ask({ ...request, contents });
      assert.ok(textOf(second));
      assert.ok(stand.taps[provider].requests.at(-1).body.includes("Rain, 12 degrees"));
    });
  }

  test(`${model}: functions are called by the client itself`, async () => {
    const called = [];
    const weather = {
      tool: async () => ({ functionDeclarations: [WEATHER] }),
      callTool: async (calls) => {
        called.push(...calls);
        return calls.map(({ id, name }) => ({ functionResponse: { id, name, response: { output: "Rain" } } }));
      },
    };
    const answer = await client.models.generateContent({
      model,
      contents: "please use the tool",
      config: { ...config, tools: [weather] },
    });
    assert.equal(called.length, 1);
    assert.equal(called[0].name, "get_weather");
    assert.ok(answer.text);
  });

  test(`${model}: a chat remembers`, async () => {
    const chat = client.chats.create({ model, config: { ...config, tools: [{ functionDeclarations: [WEATHER] }] } });
    const first = await collect(await chat.sendMessageStream({ message: "please use the tool" }));
    const [{ id, name }] = first.flatMap((answer) => answer.functionCalls ?? []);
    const message = [{ functionResponse: { id, name, response: { output: "Rain" } } }];
    assert.ok((await chat.sendMessage({ message })).text);
    assert.ok((await chat.sendMessage({ message: "thank you" })).text);
    // A turn that was streamed stands there in several contents.
    assert.ok(chat.getHistory().length >= 6);
  });

  test(`${model}: a function that must be called, and JSON by schema`, async () => {
    // A model that thinks may not be forced at Anthropic: no thinking is asked for here.
    const functionCallingConfig = { mode: FunctionCallingConfigMode.ANY, allowedFunctionNames: ["get_weather"] };
    const tools = [{ functionDeclarations: [{ ...WEATHER, name: "get_traffic" }, WEATHER] }];
    const forced = await client.models.generateContent({
      model,
      contents: "hello",
      config: { tools, toolConfig: { functionCallingConfig } },
    });
    assert.equal(forced.functionCalls[0].name, "get_weather");
    const responseSchema = { type: "OBJECT", properties: { city: { type: "STRING" } }, required: ["city"] };
    const shaped = await client.models.generateContent({
      model,
      contents: "hello",
      config: { responseMimeType: "application/json", responseSchema },
    });
    assert.equal(typeof JSON.parse(shaped.text).city, "string");
  });

  test(`${model}: the end of the tokens`, async () => {
    const answer = await client.models.generateContent({
      model,
      contents: "sim:tokens=400 hello",
      config: { maxOutputTokens: 60 },
    });
    assert.equal(answer.candidates[0].finishReason, FinishReason.MAX_TOKENS);
  });

  test(`${model}: tokens are counted, and said to be an estimate`, async () => {
    const count = await client.models.countTokens({ model, contents: "How many tokens are these words?" });
    assert.ok(count.totalTokens > 5);
    assert.equal(count.sdkHttpResponse.headers["x-igris-estimated"], "true");
  });

  test(`${model}: a broken stream throws`, async () => {
    const contents = "sim:fault=error@6;tokens=50 please";
    await assert.rejects(async () => collect(await client.models.generateContentStream({ model, contents })), ApiError);
  });
}

test("a model of its own passes as it is", async () => {
  const answer = await client.models.generateContent({ model: "gemini-3.1-pro-preview", contents: "hello" });
  assert.ok(answer.text);
  assert.deepEqual(stand.taps.google.lastBody(), { contents: [{ role: "user", parts: [{ text: "hello" }] }] });
});

test("the older version of the interface", async () => {
  const older = new GoogleGenAI({ apiKey: ACCESS_KEY, httpOptions: { baseUrl: stand.url, apiVersion: "v1" } });
  assert.ok((await older.models.generateContent({ model: "gpt-4.1", contents: "hello" })).text);
});

test("a bad access key and an unknown model", async () => {
  const stranger = new GoogleGenAI({ apiKey: "sk-igris-nobody-knows-this-key-0000", httpOptions: { baseUrl: stand.url } });
  for (const [who, model, status, word] of [
    [stranger, "gpt-4.1", 401, "UNAUTHENTICATED"],
    [client, "gpt-none-of-this-name", 404, "NOT_FOUND"],
  ]) {
    await assert.rejects(who.models.generateContent({ model, contents: "hello" }), (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.status, status);
      assert.equal(JSON.parse(error.message).error.status, word);
      return true;
    });
  }
});

test("a refused credential and a provider that is down", async () => {
  for (const [model, status] of [["refused", 502], ["down", 503]]) {
    await assert.rejects(client.models.generateContent({ model, contents: "hello" }), (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.status, status);
      return true;
    });
  }
});

// Last: the gateway is right to leave a provider alone for a while afterwards.
test("a rate limit", async () => {
  await assert.rejects(
    client.models.generateContent({ model: "mistral-small-latest", contents: "sim:fault=429 please" }),
    (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.status, 429);
      assert.equal(JSON.parse(error.message).error.status, "RESOURCE_EXHAUSTED");
      return true;
    },
  );
});
