"""The OpenAI client's chat completions, answered by models of other makers."""

import json

import openai
import pydantic
import pytest
import stand

CLAUDE = "anthropic/claude-sonnet-4-6"
GEMINI = "google/gemini-3.1-pro-preview"
COMMAND = "cohere/command-a-reasoning-08-2025"
HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello — «grüß dich» 你好 🙂"}]
USE_IT = [{"role": "user", "content": "please use the tool"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TRAFFIC = {"type": "function", "function": WEATHER["function"] | {"name": "traffic"}}


class City(pydantic.BaseModel):
    name: str
    size: int


@pytest.fixture(params=[CLAUDE, GEMINI, COMMAND])
def model(request):
    return request.param


@pytest.fixture(params=[CLAUDE, GEMINI])
def thinker(request):
    """A model whose maker demands its sealed thinking back."""
    return request.param


def provider_of(model):
    return model.partition("/")[0]


def ask(client, model, messages, stream=False, **more):
    """The answer as a completion, in one piece or by the client's own helper for streams."""
    if not stream:
        return client.chat.completions.create(model=model, messages=messages, **more)
    with client.chat.completions.stream(model=model, messages=messages, **more) as events:
        for event in events:
            assert event.type != "error"
        return events.get_final_completion()


def test_answer(client, model):
    response = client.chat.completions.create(model=model, messages=HELLO, max_completion_tokens=400)
    assert response.object == "chat.completion" and response.id.startswith("chatcmpl")
    assert response.choices[0].message.content
    assert response.choices[0].finish_reason == "stop"
    assert response.usage.total_tokens == response.usage.prompt_tokens + response.usage.completion_tokens > 0
    assert response.metadata["provider"] == provider_of(model)
    assert response.metadata["model_used"] == response.model == model.partition("/")[2]


def test_stream_says_the_same(client, model):
    whole = client.chat.completions.create(model=model, messages=HELLO)
    chunks = list(
        client.chat.completions.create(model=model, messages=HELLO, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert len(chunks) > 4 and text == whole.choices[0].message.content
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert finishes == ["stop"]
    assert chunks[-1].usage == whole.usage and not chunks[-1].choices
    assert chunks[-1].to_dict()["metadata"]["provider"] == provider_of(model)
    assert len({chunk.id for chunk in chunks}) == 1


def test_limit_is_a_length(client, model):
    messages = [{"role": "user", "content": "sim:tokens=60 words"}]
    response = client.chat.completions.create(model=model, messages=messages, max_completion_tokens=20)
    assert response.choices[0].finish_reason == "length"
    assert 0 < response.usage.completion_tokens <= 20


def known_members_only(message):
    """A turn as most frameworks keep it: nothing beyond the official types."""
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls
    ]
    return {"role": "assistant", "content": message.content, "tool_calls": calls}


@pytest.mark.parametrize("keep", [lambda message: message, known_members_only], ids=["whole", "known"])
@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
def test_tool_loop_with_thinking(client, gateway, thinker, stream, keep):
    wish = {"tools": [WEATHER], "reasoning_effort": "medium", "stream": stream}
    first = ask(client, thinker, USE_IT, **wish).choices[0]
    assert first.finish_reason == "tool_calls"
    (call,) = first.message.tool_calls
    assert call.function.name == "weather" and isinstance(json.loads(call.function.arguments)["city"], str)
    history = [*USE_IT, keep(first.message), {"role": "tool", "tool_call_id": call.id, "content": "rain, 12 degrees"}]
    second = ask(client, thinker, history, **wish).choices[0]
    assert second.finish_reason == "stop" and second.message.content and not second.message.tool_calls
    sent = gateway.taps[provider_of(thinker)].requests[-1].json()
    assert len(seals_in(sent)) == 1, sent


def seals_in(body):
    """Every seal on thinking in a request of Anthropic's or Google's."""
    if isinstance(body, dict):
        own = [body[name] for name in ("signature", "thoughtSignature") if body.get(name)]
        return own + [seal for value in body.values() for seal in seals_in(value)]
    return [seal for value in body for seal in seals_in(value)] if isinstance(body, list) else []


@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
def test_several_tools(client, model, stream):
    asked = [{"role": "user", "content": "please use the tools"}]
    wish = {"tools": [WEATHER, TRAFFIC], "stream": stream}
    message = ask(client, model, asked, **wish).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["weather", "traffic"]
    assert len({call.id for call in message.tool_calls}) == 2
    results = [{"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in message.tool_calls]
    answer = ask(client, model, [*asked, message, *reversed(results)], **wish)
    assert answer.choices[0].message.content


def test_tool_choice(client, model):
    choice = {"type": "function", "function": {"name": "traffic"}}
    if provider_of(model) == "cohere":
        choice = "required"
    response = client.chat.completions.create(model=model, messages=HELLO, tools=[TRAFFIC], tool_choice=choice)
    (call,) = response.choices[0].message.tool_calls
    assert call.function.name == "traffic"
    quiet = client.chat.completions.create(model=model, messages=USE_IT, tools=[TRAFFIC], tool_choice="none")
    assert not quiet.choices[0].message.tool_calls and quiet.choices[0].message.content


def test_parse(client, model):
    response = client.chat.completions.parse(model=model, messages=HELLO, response_format=City)
    city = response.choices[0].message.parsed
    assert isinstance(city, City) and city.name


def test_headers(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO, seed=7, logit_bias={"5": 1})
    assert raw.headers["x-igris-provider"] == provider_of(model)
    assert raw.headers["x-igris-attempts"] == "1"
    assert raw.headers["x-request-id"] and raw.headers["content-type"] == "application/json"
    assert "logit_bias" in raw.headers["x-igris-dropped"]
    assert raw.parse().choices[0].message.content


def test_headers_of_a_stream(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO, stream=True)
    assert raw.headers["x-igris-provider"] == provider_of(model)
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert len(list(raw.parse())) > 2


@pytest.mark.parametrize(
    "status, kind, code",
    [
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
        (503, openai.InternalServerError, None),
    ],
)
def test_fault(fresh_client, fresh_gateway, thinker, status, kind, code):
    tap = fresh_gateway.taps[provider_of(thinker)]
    before = len(tap.requests)
    with pytest.raises(kind) as raised:
        ask(fresh_client, thinker, [{"role": "user", "content": f"sim:fault={status} please"}])
    assert raised.value.code and raised.value.message
    assert code is None or raised.value.code == code
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert 1 <= len(tap.requests) - before <= 3


def test_what_the_provider_refuses_is_told_in_its_words(fresh_client):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA*"}}
    with pytest.raises(openai.BadRequestError) as raised:
        ask(fresh_client, GEMINI, [{"role": "user", "content": [picture]}])
    assert "Base64 decoding failed" in raised.value.message
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_what_cannot_be_said_is_refused(client, gateway):
    before = len(gateway.taps["anthropic"].requests)
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, CLAUDE, [{"role": "user", "content": [audio]}])
    assert raised.value.code == "invalid_request" and raised.value.param.startswith("messages")
    assert len(gateway.taps["anthropic"].requests) == before, "no provider hears of it"


@pytest.mark.parametrize("fault", ["error@4", "cut@4"])
def test_broken_stream_raises(fresh_client, thinker, fault):
    messages = [{"role": "user", "content": f"sim:fault={fault};tokens=50 please"}]
    chunks = []
    with pytest.raises(openai.APIError) as raised:
        for chunk in fresh_client.chat.completions.create(model=thinker, messages=messages, stream=True):
            chunks.append(chunk)
    assert chunks and raised.value.message


def test_client_that_leaves_stops_the_provider(fresh_client, fresh_gateway, thinker):
    messages = [{"role": "user", "content": "sim:tokens=2000;gap=20ms at leisure"}]
    stream = fresh_client.chat.completions.create(model=thinker, messages=messages, stream=True)
    for _ in range(3):
        next(stream)
    upstream = fresh_gateway.taps[provider_of(thinker)].requests[-1].connection
    assert upstream.closed is None
    stream.close()
    assert stand.eventually(lambda: upstream.closed), "the provider goes on writing, and the owner goes on paying"
