"""The OpenAI client's Responses, answered by models that other interfaces serve."""

import json

import openai
import pydantic
import pytest
from test_dialects_chat import CLAUDE, COMMAND, GEMINI, provider_of, seals_in

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
USE_IT = [{"role": "user", "content": "please use the tool"}]


class City(pydantic.BaseModel):
    name: str
    size: int


@pytest.fixture(params=[CLAUDE, GEMINI, COMMAND])
def model(request):
    return request.param


@pytest.fixture(params=[CLAUDE, GEMINI])
def thinker(request):
    return request.param


def ask(client, stream=False, **more):
    """The answer as a response, in one piece or by the client's own helper for streams."""
    if not stream:
        return client.responses.create(**more)
    with client.responses.stream(**more) as events:
        for event in events:
            assert event.type not in ("error", "response.failed"), event
        return events.get_final_response()


def test_answer(client, model):
    response = client.responses.create(model=model, instructions="Be brief.", input="hello there")
    assert response.object == "response" and response.status == "completed" and response.id.startswith("resp_")
    assert response.output_text and response.error is None
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0
    assert usage.input_tokens_details and usage.output_tokens_details
    assert response.metadata["provider"] == provider_of(model)
    assert response.model == model.partition("/")[2] and response.instructions == "Be brief."


def test_stream_events(client, model):
    whole = client.responses.create(model=model, input="hello there")
    events = list(client.responses.create(model=model, input="hello there", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 2 and "".join(event.delta for event in deltas) == whole.output_text
    opened = kinds.count("response.output_item.added")
    assert opened == kinds.count("response.output_item.done") == len(events[-1].response.output)
    last = events[-1].response
    assert last.output_text == whole.output_text and last.usage == whole.usage
    assert last.metadata["provider"] == provider_of(model)


def test_limit_is_incomplete(client, model):
    response = client.responses.create(model=model, input="hello there", max_output_tokens=16)
    longer = client.responses.create(model=model, input="sim:tokens=40 words", max_output_tokens=16)
    assert response.output_text
    assert longer.status == "incomplete" and longer.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
def test_tool_loop_with_thinking(client, gateway, thinker, stream):
    wish = {
        "model": thinker,
        "tools": [WEATHER],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": stream,
    }
    first = ask(client, input=USE_IT, **wish)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert call.name == "weather" and isinstance(json.loads(call.arguments)["city"], str) and call.call_id
    (reasoning,) = [item for item in first.output if item.type == "reasoning"]
    assert reasoning.summary[0].text
    # Google seals the call and not the thinking before it, so there the seal travels in the call's id.
    assert bool(reasoning.encrypted_content) == (thinker == CLAUDE)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain, 12 degrees"}
    second = ask(client, input=[*USE_IT, *first.output, result], **wish)
    assert second.output_text and not [item for item in second.output if item.type == "function_call"]
    sent = gateway.taps[provider_of(thinker)].requests[-1].json()
    assert len(seals_in(sent)) == 1, sent


@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
def test_tool_loop_of_a_model_without_seals(client, stream):
    wish = {"model": COMMAND, "tools": [WEATHER], "stream": stream}
    first = ask(client, input=USE_IT, **wish)
    (call,) = [item for item in first.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain, 12 degrees"}
    assert ask(client, input=[*USE_IT, *first.output, result], **wish).output_text


def test_parse(client, model):
    response = client.responses.parse(model=model, input="where?", text_format=City)
    assert isinstance(response.output_parsed, City) and response.output_parsed.name


def test_picture(client, gateway, thinker):
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    parts = [
        {"type": "input_text", "text": "what is it?"},
        {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{png}"},
    ]
    assert client.responses.create(model=thinker, input=[{"role": "user", "content": parts}]).output_text
    sent = gateway.taps[provider_of(thinker)].requests[-1].body.decode()
    assert png in sent and "data:image" not in sent


def test_headers(client, model):
    raw = client.responses.with_raw_response.create(model=model, input="hello there")
    assert raw.headers["x-igris-provider"] == provider_of(model)
    assert raw.parse().output_text


@pytest.mark.parametrize("status, kind", [(429, openai.RateLimitError), (503, openai.InternalServerError)])
def test_fault(fresh_client, thinker, status, kind):
    with pytest.raises(kind) as raised:
        ask(fresh_client, model=thinker, input=f"sim:fault={status} please")
    assert raised.value.code and raised.value.message


@pytest.mark.parametrize("fault", ["error@4", "cut@4"])
def test_broken_stream_fails(fresh_client, thinker, fault):
    events = []
    try:
        for event in fresh_client.responses.create(
            model=thinker, input=f"sim:fault={fault};tokens=50 please", stream=True
        ):
            events.append(event)
    except openai.APIError as error:
        assert error.message
    kinds = [event.type for event in events]
    assert "response.output_text.delta" in kinds, "what came before the break is delivered"
    assert "response.completed" not in kinds and kinds[-1] in ("response.failed", "error"), kinds
