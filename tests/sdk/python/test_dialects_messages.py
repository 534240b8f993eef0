"""Anthropic's client, answered by models of other makers."""

import json

import anthropic
import pydantic
import pytest
import stand
from test_dialects_chat import COMMAND, GEMINI, provider_of, seals_in

GPT = "openai/gpt-4.1"
GPT_THINKING = "openai/gpt-5.6-terra"
HELLO = [{"role": "user", "content": "Say hello — «grüß dich» 你好 🙂"}]
USE_IT = [{"role": "user", "content": "please use the tool"}]
WEATHER = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TRAFFIC = WEATHER | {"name": "traffic"}


class City(pydantic.BaseModel):
    name: str
    size: int


def client_of(gateway, **settings):
    return anthropic.Anthropic(base_url=gateway.url, **({"api_key": stand.ACCESS_KEY, "timeout": 20} | settings))


@pytest.fixture
def client(gateway):
    with client_of(gateway) as client:
        yield client


@pytest.fixture
def fresh_client(fresh_gateway):
    with client_of(fresh_gateway) as client:
        yield client


@pytest.fixture(params=[GPT, GEMINI, COMMAND])
def model(request):
    return request.param


def ask(client, model, messages, stream=False, **more):
    """The answer as a message, in one piece or by the client's own helper for streams."""
    asked = {"model": model, "max_tokens": 4096, "messages": messages} | more
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        return events.get_final_message()


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def test_answer(client, model):
    message = ask(client, model, HELLO, system="Be brief.")
    assert message.type == "message" and message.role == "assistant" and message.id.startswith("msg_")
    assert text_of(message) and message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert message.model == model.partition("/")[2]


def test_stream_says_the_same(client, model):
    whole = ask(client, model, HELLO)
    with client.messages.stream(model=model, max_tokens=4096, messages=HELLO) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 2 and "".join(pieces) == text_of(whole) == text_of(final)
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)


def test_raw_events(client, model):
    events = list(client.messages.create(model=model, max_tokens=4096, messages=HELLO, stream=True))
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    blocks = 2 if model == COMMAND else 1
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == blocks
    assert events[-2].delta.stop_reason == "end_turn" and events[-2].usage.output_tokens > 0


def test_limit_and_stop_words(client, gateway, model):
    message = ask(client, model, message_of("sim:tokens=60 words"), max_tokens=20, stop_sequences=["END"])
    assert message.stop_reason == "max_tokens"
    sent = gateway.taps[provider_of(model)].requests[-1].json()
    assert ["END"] in (
        sent.get("stop"),
        sent.get("stop_sequences"),
        sent.get("generationConfig", {}).get("stopSequences"),
    )


def message_of(words):
    return [{"role": "user", "content": words}]


@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
@pytest.mark.parametrize("thinker", [GEMINI, GPT_THINKING, COMMAND])
def test_tool_loop_with_thinking(client, gateway, thinker, stream):
    wish = {"tools": [WEATHER], "thinking": {"type": "enabled", "budget_tokens": 2048}, "stream": stream}
    first = ask(client, thinker, USE_IT, **wish)
    assert first.stop_reason == "tool_use"
    (call,) = [block for block in first.content if block.type == "tool_use"]
    assert call.name == "weather" and isinstance(call.input["city"], str)
    if thinker == GEMINI:
        assert [block for block in first.content if block.type == "thinking" and block.thinking]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain, 12 degrees"}
    history = [*USE_IT, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = ask(client, thinker, history, **wish)
    assert second.stop_reason == "end_turn" and text_of(second)
    if thinker == GEMINI:
        sent = gateway.taps["google"].requests[-1].json()
        assert len(seals_in(sent)) == 1, sent


@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
def test_several_tools(client, model, stream):
    asked = message_of("please use the tools")
    wish = {"tools": [WEATHER, TRAFFIC], "stream": stream}
    first = ask(client, model, asked, **wish)
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["weather", "traffic"]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": call.name}]}
        for call in reversed(calls)
    ]
    history = [*asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    assert text_of(ask(client, model, history, **wish))


def test_tool_choice(client, model):
    choice = {"type": "any"} if model == COMMAND else {"type": "tool", "name": "traffic"}
    message = ask(client, model, HELLO, tools=[TRAFFIC], tool_choice=choice)
    assert [block.name for block in message.content if block.type == "tool_use"] == ["traffic"]


def test_parse(client, model):
    message = client.messages.parse(model=model, max_tokens=4096, messages=HELLO, output_format=City)
    assert isinstance(message.parsed_output, City) and message.parsed_output.name


def test_picture(client, gateway):
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}}
    asked = [{"role": "user", "content": [picture, {"type": "text", "text": "what is it?"}]}]
    for model in (GPT, GEMINI):
        assert text_of(ask(client, model, asked))
        assert png in gateway.taps[provider_of(model)].requests[-1].body.decode()


def test_tokens_are_estimated_aloud(client, model):
    raw = client.messages.with_raw_response.count_tokens(model=model, messages=HELLO, system="Be brief.")
    assert raw.headers["x-igris-estimated"] == "true"
    assert raw.parse().input_tokens > 0


def test_models(client):
    page = client.models.list(limit=100)
    names = [model.id for model in page.data]
    assert {"gpt-4.1", "gemini-3.1-pro-preview", "claude-sonnet-4-6"} <= set(names)
    assert all(model.type == "model" and model.display_name and model.created_at for model in page.data)
    assert client.models.retrieve("gpt-4.1").id == "gpt-4.1"


def test_headers(client, model):
    raw = client.messages.with_raw_response.create(model=model, max_tokens=4096, messages=HELLO)
    assert raw.headers["x-igris-provider"] == provider_of(model)
    assert raw.headers["request-id"]
    # What Cohere's reasoning model costs is not known, so nothing is said of it.
    assert ("x-igris-cost-usd" in raw.headers) == (model != COMMAND)
    assert raw.parse()._request_id == raw.headers["request-id"]
    assert "metadata" not in raw.parse().to_dict(), "native clients see nothing foreign"


def test_own_key_is_wrong(gateway):
    with client_of(gateway, api_key="sk-igris-nobody-knows-this-key-0000") as client:
        with pytest.raises(anthropic.AuthenticationError) as raised:
            ask(client, GPT, HELLO)
    assert raised.value.body["error"]["type"] == "authentication_error" and raised.value.request_id


def test_unknown_model(client):
    with pytest.raises(anthropic.NotFoundError) as raised:
        ask(client, "gpt-none-of-this-name", HELLO)
    assert raised.value.body["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("target", [GPT, GEMINI])
@pytest.mark.parametrize(
    "status, kind, word",
    [
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, None),
        (503, anthropic.InternalServerError, None),
    ],
)
def test_fault(fresh_client, fresh_gateway, target, status, kind, word):
    tap = fresh_gateway.taps[provider_of(target)]
    before = len(tap.requests)
    with pytest.raises(kind) as raised:
        ask(fresh_client, target, message_of(f"sim:fault={status} please"))
    assert raised.value.body["type"] == "error" and raised.value.body["error"]["message"]
    assert word is None or raised.value.body["error"]["type"] == word
    assert 1 <= len(tap.requests) - before <= 3, "the client does not try again what we have tried"


@pytest.mark.parametrize("target", [GPT, GEMINI])
@pytest.mark.parametrize("fault", ["error@4", "cut@4"])
def test_broken_stream_raises(fresh_client, target, fault):
    pieces = []
    with pytest.raises(anthropic.APIError):
        with fresh_client.messages.stream(
            model=target, max_tokens=4096, messages=message_of(f"sim:fault={fault};tokens=50 please")
        ) as stream:
            for piece in stream.text_stream:
                pieces.append(piece)
    assert pieces, "what came before the break is delivered"


def test_input_is_verbatim_json(client, gateway):
    """What the second turn sends back is what the model said, to the last digit."""
    number = {"name": "n", "input_schema": {"type": "object", "properties": {"n": {"type": "number"}}}}
    first = ask(client, GPT, USE_IT, tools=[number])
    (call,) = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "ok"}
    ask(client, GPT, [*USE_IT, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}])
    messages = gateway.taps["openai"].requests[-1].json()["messages"]
    (sent,) = [call for message in messages for call in message.get("tool_calls", [])]
    assert json.loads(sent["function"]["arguments"]) == call.input
