// Vercel's AI SDK against the gateway, by its OpenAI provider and by the one for compatible servers.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, jsonSchema, streamText, tool } from "ai";
import { ACCESS_KEY, start } from "./stand.mjs";

let stand;
let models;

before(async () => {
  stand = await start();
  const options = { baseURL: stand.base, apiKey: ACCESS_KEY };
  const compatible = createOpenAICompatible({ name: "igris", includeUsage: true, ...options });
  models = {
    "createOpenAI().chat": (name) => createOpenAI(options).chat(name),
    createOpenAICompatible: (name) => compatible.chatModel(name),
  };
});
after(() => stand?.stop());

for (const provider of ["createOpenAI().chat", "createOpenAICompatible"]) {
  test(`${provider}: generateText`, async () => {
    const answer = await generateText({ model: models[provider]("gpt-4o-mini"), prompt: "hello" });
    assert.ok(answer.text);
    assert.equal(answer.finishReason, "stop");
    assert.ok(answer.usage.outputTokens > 0);
    assert.equal(answer.response.headers["x-igris-provider"], "openai");
  });

  test(`${provider}: streamText`, async () => {
    const whole = await generateText({ model: models[provider]("gpt-4o-mini"), prompt: "hello" });
    const stream = streamText({ model: models[provider]("gpt-4o-mini"), prompt: "hello" });
    const pieces = [];
    for await (const piece of stream.textStream) pieces.push(piece);
    assert.ok(pieces.length > 2);
    assert.equal(pieces.join(""), whole.text);
    assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
  });

  test(`${provider}: tools`, async () => {
    const weather = tool({
      description: "The weather of a place",
      inputSchema: jsonSchema({ type: "object", properties: { place: { type: "string" } }, required: ["place"] }),
    });
    const answer = await generateText({
      model: models[provider]("gpt-4o-mini"),
      prompt: "hello",
      tools: { weather },
      toolChoice: "required",
    });
    assert.equal(answer.toolCalls.length, 1);
    assert.equal(answer.toolCalls[0].toolName, "weather");
    assert.equal(typeof answer.toolCalls[0].input.place, "string");
  });

  test(`${provider}: an unknown model`, async () => {
    const call = generateText({ model: models[provider]("gpt-none-of-this-name"), prompt: "hello", maxRetries: 0 });
    await assert.rejects(call, (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, 404);
      assert.equal(JSON.parse(error.responseBody).error.code, "model_not_found");
      return true;
    });
  });
}
