"""Google's client, answered by models of other makers."""

import pydantic
import pytest
import stand
from google import genai
from google.genai import errors, types
from test_dialects_chat import CLAUDE, COMMAND, provider_of, seals_in

GPT = "openai/gpt-4.1"
WEATHER = types.FunctionDeclaration(
    name="weather",
    description="The weather of a city",
    parameters_json_schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
TOOLS = [types.Tool(function_declarations=[WEATHER])]
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


class City(pydantic.BaseModel):
    name: str
    size: int


def client_of(gateway, key=stand.ACCESS_KEY, **options):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=gateway.url, timeout=20000, **options))


@pytest.fixture
def client(gateway):
    with client_of(gateway) as client:
        yield client


@pytest.fixture
def fresh_client(fresh_gateway):
    with client_of(fresh_gateway) as client:
        yield client


@pytest.fixture(params=[GPT, CLAUDE, COMMAND])
def model(request):
    return request.param


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_answer(gateway, model, version):
    with client_of(gateway, api_version=version) as client:
        answer = client.models.generate_content(
            model=model, contents="hello there", config={"system_instruction": "Be brief.", "max_output_tokens": 4096}
        )
    assert answer.text and answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage.prompt_token_count > 0 and usage.candidates_token_count > 0
    thoughts = usage.thoughts_token_count or 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count + thoughts
    assert answer.model_version == model.partition("/")[2] and answer.response_id


def test_stream_says_the_same(client, model):
    whole = client.models.generate_content(model=model, contents="hello there")
    chunks = list(client.models.generate_content_stream(model=model, contents="hello there"))
    assert len(chunks) > 2 and "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count == whole.usage_metadata.candidates_token_count


def test_limit(client, model):
    config = {"max_output_tokens": 20}
    answer = client.models.generate_content(model=model, contents="sim:tokens=60 words", config=config)
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def merged(chunks):
    """The model's turn of a stream, as the client's own chats put it together."""
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
    return types.Content(role="model", parts=parts)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("thinker", [CLAUDE, COMMAND, GPT])
def test_tool_loop_by_hand(client, gateway, thinker, stream):
    thinking = None if thinker == GPT else types.ThinkingConfig(include_thoughts=True, thinking_budget=2048)
    config = types.GenerateContentConfig(tools=TOOLS, thinking_config=thinking, automatic_function_calling=BY_HAND)

    def ask(contents):
        asked = {"model": thinker, "contents": contents, "config": config}
        if stream:
            return merged(client.models.generate_content_stream(**asked))
        return client.models.generate_content(**asked).candidates[0].content

    asked = types.Content(role="user", parts=[types.Part(text="please use the tool")])
    first = ask([asked])
    (call,) = [part.function_call for part in first.parts if part.function_call]
    assert call.name == "weather" and isinstance(call.args["city"], str)
    if thinker == CLAUDE:
        assert [part for part in first.parts if part.thought and part.text]
    response = types.FunctionResponse(id=call.id, name=call.name, response={"result": "rain, 12 degrees"})
    second = ask([asked, first, types.Content(role="user", parts=[types.Part(function_response=response)])])
    assert "".join(part.text or "" for part in second.parts if not part.thought)
    assert not [part for part in second.parts if part.function_call]
    if thinker == CLAUDE:
        sent = gateway.taps["anthropic"].requests[-1].json()
        assert len(seals_in(sent)) == 1, sent


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_chat_calls_by_itself(client, gateway, model, stream):
    """Two rounds to the model in one call of the user: the client runs the function and sends the history back."""
    asked = []

    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"sunny in {city}"

    before = len(gateway.taps[provider_of(model)].requests)
    chat = client.chats.create(model=model, config=types.GenerateContentConfig(tools=[weather]))
    if stream:
        text = "".join(chunk.text or "" for chunk in chat.send_message_stream("please use the tool"))
    else:
        text = chat.send_message("please use the tool").text
    assert text and asked == ["harbour light"]
    assert len(gateway.taps[provider_of(model)].requests) == before + 2
    # The history holds, whatever was called in it.
    assert chat.send_message("thank you").text
    assert len(chat.get_history()) >= 4


def test_parse(client, model):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    answer = client.models.generate_content(model=model, contents="where?", config=config)
    assert isinstance(answer.parsed, City) and answer.parsed.name


def test_picture(client, gateway):
    png = bytes.fromhex("89504e470d0a1a0a")
    contents = ["what is it?", types.Part.from_bytes(data=png, mime_type="image/png")]
    for model in (GPT, CLAUDE):
        assert client.models.generate_content(model=model, contents=contents).text
        assert "iVBORw0KGgo=" in gateway.taps[provider_of(model)].requests[-1].body.decode()


def test_models(gateway):
    for version in ("v1", "v1beta"):
        with client_of(gateway, api_version=version) as client:
            names = [model.name for model in client.models.list()]
            assert {"models/gpt-4.1", "models/claude-sonnet-4-6", "models/gemini-3.1-pro-preview"} <= set(names)
            assert client.models.get(model="gpt-4.1").name == "models/gpt-4.1"


def test_tokens_are_counted(client, model):
    assert client.models.count_tokens(model=model, contents="hello there").total_tokens > 0


def test_headers(client, model):
    answer = client.models.generate_content(model=model, contents="hello there")
    headers = {name.lower(): value for name, value in answer.sdk_http_response.headers.items()}
    assert headers["x-igris-provider"] == provider_of(model) and headers["x-request-id"]


def test_own_key_is_wrong(gateway):
    with client_of(gateway, key="sk-igris-nobody-knows-this-key-0000") as client:
        with pytest.raises(errors.ClientError) as raised:
            client.models.generate_content(model=GPT, contents="hello")
    assert (raised.value.code, raised.value.status) == (401, "UNAUTHENTICATED")


def test_unknown_model(client):
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model="gpt-none-of-this-name", contents="hello")
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND") and raised.value.message


@pytest.mark.parametrize("target", [GPT, CLAUDE])
@pytest.mark.parametrize(
    "status, kind, word",
    [
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, None),
        (503, errors.ServerError, None),
    ],
)
def test_fault(fresh_client, target, status, kind, word):
    with pytest.raises(kind) as raised:
        fresh_client.models.generate_content(model=target, contents=f"sim:fault={status} please")
    assert raised.value.message and raised.value.status
    assert word is None or raised.value.status == word


@pytest.mark.parametrize("target", [GPT, CLAUDE])
@pytest.mark.parametrize("fault", ["error@4", "cut@4"])
def test_broken_stream_raises(fresh_client, target, fault):
    chunks = []
    with pytest.raises(errors.APIError):
        for chunk in fresh_client.models.generate_content_stream(
            model=target, contents=f"sim:fault={fault};tokens=50 please"
        ):
            chunks.append(chunk)
    assert chunks, "what came before the break is delivered"
