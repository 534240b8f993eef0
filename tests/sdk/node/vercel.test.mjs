// Vercel's AI SDK against the gateway: each of its providers, before the models of every maker.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { ACCESS_KEY, start } from "./stand.mjs";

/** Each way to make a model, what it wants to be told so that the model thinks, and where the code of an error is. */
const WAYS = {
  "createOpenAI()": {
    make: (options) => createOpenAI(options),
    // Its default is the Responses API, where a loop without a store needs the reasoning sealed.
    options: { openai: { store: false, reasoningEffort: "medium", reasoningSummary: "auto", forceReasoning: true } },
    thinks: true,
    code: (body) => body.error.code,
  },
  "createOpenAI().chat": {
    make: (options) => createOpenAI(options).chat,
    options: { openai: { reasoningEffort: "medium", forceReasoning: true } },
    thinks: false,
    code: (body) => body.error.code,
  },
  createOpenAICompatible: {
    make: (options) => createOpenAICompatible({ name: "igris", includeUsage: true, supportsStructuredOutputs: true, ...options }),
    options: { igris: { reasoningEffort: "medium" } },
    thinks: true,
    code: (body) => body.error.code,
  },
  createAnthropic: {
    make: (options) => createAnthropic(options),
    options: { anthropic: { thinking: { type: "enabled", budgetTokens: 2048 } } },
    thinks: true,
    code: (body) => body.error.details.error_code,
  },
  createGoogleGenerativeAI: {
    make: (options) => createGoogleGenerativeAI({ ...options, baseURL: `${stand.url}/v1beta` }),
    options: { google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 2048 } } },
    thinks: true,
    code: (body) => body.error.details[0].reason.toLowerCase(),
  },
};
/** The model of each maker; one that thinks and shows it, if any. */
const MODELS = [
  { model: "gpt-4.1", provider: "openai", thinks: false },
  { model: "claude-sonnet-4-6", provider: "anthropic", thinks: true },
  { model: "gemini-3.1-pro-preview", provider: "google", thinks: true },
];

// It warns of thinking that it cannot give back, such as Google's on OpenAI's way; the calls carry what must come back.
globalThis.AI_SDK_LOG_WARNINGS = false;

let stand;
const models = {};

before(async () => {
  stand = await start();
  for (const [way, { make }] of Object.entries(WAYS)) models[way] = make({ baseURL: stand.base, apiKey: ACCESS_KEY });
});
after(() => stand?.stop());

/** A tool that runs: what it was called with is kept. */
function weather(called) {
  return tool({
    description: "The weather of a place",
    inputSchema: jsonSchema({
      type: "object",
      properties: { place: { type: "string" } },
      required: ["place"],
      additionalProperties: false,
    }),
    execute: async (input) => {
      called.push(input);
      return { sky: "Rain, 12 degrees" };
    },
  });
}

/** What a request says on the way `way` to a model: with thinking, where the model has it. */
function request(way, { model, thinks }, rest) {
  const providerOptions = thinks ? WAYS[way].options : { openai: { store: false } };
  return { model: models[way](model), maxOutputTokens: 4000, maxRetries: 0, providerOptions, ...rest };
}

for (const way of Object.keys(WAYS)) {
  for (const target of MODELS) {
    const { model, provider, thinks } = target;

    test(`${way} to ${model}: generateText`, async () => {
      const answer = await generateText(request(way, target, { system: "Be kind.", prompt: "hello" }));
      assert.ok(answer.text);
      assert.equal(answer.finishReason, "stop");
      assert.ok(answer.usage.inputTokens > 0 && answer.usage.outputTokens > 0);
      assert.equal(answer.response.headers["x-igris-provider"], provider);
      if (WAYS[way].thinks) assert.equal(Boolean(answer.reasoningText), thinks);
    });

    test(`${way} to ${model}: streamText`, async () => {
      const asked = request(way, target, { prompt: "hello" });
      const whole = await generateText(asked);
      const stream = streamText(asked);
      const pieces = [];
      for await (const piece of stream.textStream) pieces.push(piece);
      assert.ok(pieces.length > 2);
      assert.equal(pieces.join(""), whole.text);
      assert.equal(await stream.finishReason, "stop");
      assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
      if (WAYS[way].thinks) assert.equal(Boolean(await stream.reasoningText), thinks);
    });

    for (const [kind, ask] of [
      ["generateText", (asked) => generateText(asked)],
      [
        "streamText",
        async (asked) => {
          const stream = streamText({ ...asked, onError: () => {} });
          for await (const part of stream.fullStream) if (part.type === "error") throw part.error;
          return { steps: await stream.steps, text: await stream.text };
        },
      ],
    ]) {
      test(`${way} to ${model}: a tool loop by ${kind}`, async () => {
        const called = [];
        const asked = request(way, target, {
          prompt: "please use the tool",
          tools: { weather: weather(called) },
          stopWhen: stepCountIs(4),
        });
        const { steps, text } = await ask(asked);
        assert.equal(steps.length, 2);
        assert.equal(called.length, 1);
        assert.equal(typeof called[0].place, "string");
        assert.ok(text);
        assert.ok(stand.taps[provider].requests.at(-1).body.includes("Rain, 12 degrees"));
      });
    }

    test(`${way} to ${model}: a tool that must be called, and JSON by schema`, async () => {
      // Anthropic lets no thinking model be forced.
      const plain = { providerOptions: { openai: { store: false } } };
      const forced = await generateText(
        request(way, target, { prompt: "hello", tools: { weather: weather([]) }, toolChoice: "required", ...plain }),
      );
      assert.equal(forced.toolCalls.length, 1);
      assert.equal(forced.toolCalls[0].toolName, "weather");
      const schema = jsonSchema({
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"],
        additionalProperties: false,
      });
      const shaped = await generateText(request(way, target, { prompt: "where?", output: Output.object({ schema }), ...plain }));
      assert.equal(typeof shaped.output.city, "string");
    });
  }

  test(`${way}: an unknown model`, async () => {
    const call = generateText({ model: models[way]("gpt-none-of-this-name"), prompt: "hello", maxRetries: 0 });
    await assert.rejects(call, (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, 404);
      assert.equal(WAYS[way].code(JSON.parse(error.responseBody)), "model_not_found");
      return true;
    });
  });
}
