from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8081/v1", api_key="YOUR_IGRIS_API_KEY")

response = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Hello!"}],
)
print(response.choices[0].message.content.replace("\n", " "))
print(f"{response.metadata['provider']}, {response.metadata['cost_usd']:.8f} USD")
