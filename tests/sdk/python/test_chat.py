"""What a user of the OpenAI client gets from the gateway when everything is well."""

import asyncio
import json

import openai
import stand

HELLO = [{"role": "user", "content": "Say hello — «grüß dich» 你好 🙂"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["place", "days"],
        },
    },
}


def text_of(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def metadata_of(chunk):
    return chunk.to_dict().get("metadata")


def test_chat(client):
    response = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert response.object == "chat.completion"
    assert response.choices[0].message.role == "assistant"
    assert response.choices[0].message.content
    assert response.choices[0].finish_reason == "stop"
    assert response.usage.total_tokens == response.usage.prompt_tokens + response.usage.completion_tokens


def test_metadata_by_subscript(client):
    response = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert response.metadata["provider"] == "openai"
    assert response.metadata["model_used"] == "gpt-4o-mini"
    assert response.metadata["attempts"] == 1
    assert response.metadata["latency_ms"] >= 0
    assert response.metadata["trace_id"]
    breakdown = response.metadata["cost_breakdown"]
    assert breakdown["input_tokens"] == response.usage.prompt_tokens
    assert breakdown["output_tokens"] == response.usage.completion_tokens
    # The list price of gpt-4o-mini: 0.15 and 0.60 USD per million tokens.
    expected = (response.usage.prompt_tokens * 0.15 + response.usage.completion_tokens * 0.60) / 1e6
    assert abs(response.metadata["cost_usd"] - expected) < 1e-9
    assert abs(breakdown["input_cost"] + breakdown["output_cost"] - response.metadata["cost_usd"]) < 1e-9


def test_headers_of_an_answer(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO)
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.headers["x-request-id"]
    assert raw.headers["x-igris-provider"] == "openai"
    assert raw.headers["x-igris-model"] == "gpt-4o-mini"
    assert raw.headers["x-igris-attempts"] == "1"
    assert 0 < float(raw.headers["x-igris-overhead-us"]) < 1e6
    response = raw.parse()
    assert abs(float(raw.headers["x-igris-cost-usd"]) - response.metadata["cost_usd"]) < 1e-9
    assert response._request_id == raw.headers["x-request-id"]


def test_stream_says_what_the_whole_answer_says(client):
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True))
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[-1].object == "chat.completion.chunk"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]


def test_stream_without_usage_shows_none_and_every_chunk_has_a_choice(client):
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True))
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks), "clients that were not promised a usage chunk index choices[0]"
    carriers = [chunk for chunk in chunks if metadata_of(chunk)]
    assert carriers == chunks[-1:]
    assert metadata_of(chunks[-1])["provider"] == "openai"
    assert metadata_of(chunks[-1])["cost_usd"] > 0


def test_stream_with_usage(client):
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    with_usage = [chunk for chunk in chunks if chunk.usage]
    assert len(with_usage) == 1 and with_usage[0].choices == []
    assert with_usage[0].usage.prompt_tokens == whole.usage.prompt_tokens
    assert with_usage[0].usage.completion_tokens == whole.usage.completion_tokens
    assert abs(metadata_of(chunks[-1])["cost_usd"] - whole.metadata["cost_usd"]) < 1e-9


def test_headers_of_a_stream(client):
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4o-mini", messages=HELLO, stream=True
    ) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-request-id"]
        assert response.headers["x-igris-provider"] == "openai"
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_long_stream_arrives_whole(client):
    messages = [{"role": "user", "content": "sim:tokens=5000 at length"}]
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True))
    assert len(chunks) > 5000
    assert text_of(chunks) == whole.choices[0].message.content


def test_stream_cut_into_single_bytes_arrives_whole(client):
    messages = [{"role": "user", "content": "sim:tokens=40;split=1 in crumbs"}]
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True))
    assert text_of(chunks) == whole.choices[0].message.content


def test_tools(client):
    response = client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, tools=[WEATHER], tool_choice="required"
    )
    (call,) = response.choices[0].message.tool_calls
    assert response.choices[0].finish_reason == "tool_calls"
    assert call.id and call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"place", "days"}


def test_tools_stream(client):
    arguments = {"model": "gpt-4o-mini", "messages": HELLO, "tools": [WEATHER], "tool_choice": "required"}
    whole = client.chat.completions.create(**arguments).choices[0].message.tool_calls[0]
    pieces = [
        call
        for chunk in client.chat.completions.create(**arguments, stream=True)
        for choice in chunk.choices
        for call in choice.delta.tool_calls or []
    ]
    assert pieces[0].id == whole.id and pieces[0].function.name == "get_weather"
    assert len(pieces) > 1
    assert "".join(piece.function.arguments or "" for piece in pieces) == whole.function.arguments


def test_tool_answer_goes_back(client, gateway):
    first = client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, tools=[WEATHER], tool_choice="required"
    ).choices[0].message
    messages = [
        *HELLO,
        first.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "sunny"},
    ]
    second = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content
    assert gateway.taps["openai"].chats()[-1].json()["messages"] == messages


def test_json_object(client):
    response = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "answer in json"}],
        response_format={"type": "json_object"},
    )
    assert isinstance(json.loads(response.choices[0].message.content), dict)


def test_json_schema(client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "size": {"type": "integer"}},
        "required": ["city", "size"],
        "additionalProperties": False,
    }
    response = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
    )
    answer = json.loads(response.choices[0].message.content)
    assert isinstance(answer["city"], str) and isinstance(answer["size"], int)


def test_models_list(client):
    models = client.models.list().data
    names = [model.id for model in models]
    assert "gpt-4o-mini" in names and "mistral-small-latest" in names
    assert len(names) == len(set(names))
    assert all(model.object == "model" and model.owned_by for model in models)


def test_the_provider_hears_what_the_client_said(client, gateway):
    client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, temperature=0.25, seed=7, stop=["END"], logit_bias={"50256": -100}
    )
    sent = gateway.taps["openai"].chats()[-1]
    body = sent.json()
    assert body["messages"] == HELLO
    assert (body["temperature"], body["seed"], body["stop"]) == (0.25, 7, ["END"])
    assert body["logit_bias"] == {"50256": -100}
    assert sent.target == "/v1/chat/completions"


def test_the_provider_gets_its_own_credential_and_nothing_of_the_client(client, gateway):
    client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    sent = gateway.taps["openai"].chats()[-1]
    assert sent.headers["authorization"] == f"Bearer {stand.CREDENTIALS['openai']}"
    assert sent.headers["accept-encoding"] == "identity"
    assert stand.ACCESS_KEY not in repr(sent)
    assert not [name for name in sent.headers if name.startswith(("x-stainless", "x-igris"))]


def test_native_fields_steer_and_stay_here(client, gateway):
    native = {"provider": "openai", "routing_policy": "cost-optimized", "optimization": "latency", "deadline_ms": 20000}
    response = client.chat.completions.create(model="either", messages=HELLO, extra_body=native)
    assert response.metadata["provider"] == "openai"
    body = gateway.taps["openai"].chats()[-1].json()
    assert not set(native) & set(body)
    assert body["model"] == "gpt-4o-mini"


def test_native_headers_steer_and_stay_here(client, gateway):
    response = client.chat.completions.create(
        model="either", messages=HELLO, extra_headers={"x-igris-provider": "openai"}
    )
    assert response.metadata["provider"] == "openai"
    assert "x-igris-provider" not in gateway.taps["openai"].chats()[-1].headers


def test_another_provider_answers_under_its_own_name(client):
    response = client.chat.completions.create(model="mistral-small-latest", messages=HELLO)
    assert response.metadata["provider"] == "mistral"
    assert response.model == "mistral-small-latest"


def test_failover_to_the_next_provider(client, gateway):
    before = len(gateway.taps["openai"].chats())
    raw = client.chat.completions.with_raw_response.create(model="resilient", messages=HELLO)
    assert raw.headers["x-igris-provider"] == "openai"
    assert int(raw.headers["x-igris-attempts"]) in (1, 2)
    assert len(gateway.taps["openai"].chats()) == before + 1


def test_many_at_once(gateway):
    async def ask(client, number):
        messages = [{"role": "user", "content": f"question {number}"}]
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        streamed = text_of([chunk async for chunk in stream])
        whole = await client.chat.completions.create(model="gpt-4o-mini", messages=messages)
        return streamed, whole.choices[0].message.content

    async def all_of_them():
        async with openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key=stand.ACCESS_KEY, timeout=20, max_retries=0
        ) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(32)))

    answers = asyncio.run(all_of_them())
    assert all(streamed == whole for streamed, whole in answers)
    assert len({whole for _, whole in answers}) == 32, "answers of different questions are not mixed up"
