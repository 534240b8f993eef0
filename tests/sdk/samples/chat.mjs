import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8081/v1", apiKey: "YOUR_IGRIS_API_KEY" });

const response = await client.chat.completions.create({
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(response.choices[0].message.content.replaceAll("\n", " "));
console.log(`${response.metadata.provider}, ${response.metadata.cost_usd.toFixed(8)} USD`);
