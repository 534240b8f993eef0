"""LangChain and LlamaIndex, each before a model that is not of the maker whose client they use."""

import pytest
import stand
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from llama_index.core.base.llms.types import ChatMessage, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

CLAUDE = "anthropic/claude-sonnet-4-6"
GEMINI = "google/gemini-3.1-pro-preview"
GPT = "openai/gpt-4.1"


def openai_chat(gateway, model, **more):
    return ChatOpenAI(
        model=model, base_url=f"{gateway.url}/v1", api_key=stand.ACCESS_KEY, timeout=20, stream_usage=True, **more
    )


def openai_responses(gateway, model):
    return openai_chat(gateway, model, use_responses_api=True, output_version="responses/v1")


def anthropic_chat(gateway, model):
    return ChatAnthropic(model=model, base_url=gateway.url, api_key=stand.ACCESS_KEY, timeout=20, max_tokens=4096)


def google_chat(gateway, model):
    return ChatGoogleGenerativeAI(model=model, base_url=gateway.url, google_api_key=stand.ACCESS_KEY, timeout=20)


LANGCHAIN = [
    (openai_chat, CLAUDE),
    (openai_chat, GEMINI),
    (openai_responses, CLAUDE),
    (openai_responses, GEMINI),
    (anthropic_chat, GPT),
    (anthropic_chat, GEMINI),
    (google_chat, GPT),
    (google_chat, CLAUDE),
]


@pytest.fixture(params=LANGCHAIN, ids=lambda pair: f"{pair[0].__name__} to {pair[1].partition('/')[0]}")
def chat(request, gateway):
    make, model = request.param
    return make(gateway, model)


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def text_of(message):
    return message.text if isinstance(message.text, str) else message.text()


def test_langchain_invoke(chat):
    answer = chat.invoke([("system", "Be brief."), ("human", "hello")])
    assert text_of(answer)
    assert answer.usage_metadata["input_tokens"] > 0 and answer.usage_metadata["output_tokens"] > 0


def test_langchain_stream(chat):
    whole = chat.invoke("hello")
    chunks = list(chat.stream("hello"))
    assert len(chunks) > 2
    assert "".join(text_of(chunk) for chunk in chunks) == text_of(whole)
    total = sum(chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata)
    assert total == whole.usage_metadata["output_tokens"]


@pytest.mark.parametrize("stream", [False, True], ids=["invoke", "stream"])
def test_langchain_tool_loop(chat, stream):
    bound = chat.bind_tools([weather])

    def ask(history):
        if not stream:
            return bound.invoke(history)
        whole = None
        for chunk in bound.stream(history):
            whole = chunk if whole is None else whole + chunk
        return whole

    history = [HumanMessage("please use the tool")]
    first = ask(history)
    (call,) = first.tool_calls
    assert call["name"] == "weather" and set(call["args"]) == {"city"}
    result = weather.invoke(call)
    assert isinstance(result, ToolMessage)
    second = ask([*history, first, result])
    assert text_of(second) and not second.tool_calls


@pytest.fixture(params=[CLAUDE, GEMINI], ids=["anthropic", "google"])
def llama(request, gateway):
    return OpenAILike(
        model=request.param,
        api_base=f"{gateway.url}/v1",
        api_key=stand.ACCESS_KEY,
        is_chat_model=True,
        is_function_calling_model=True,
        timeout=20,
    )


def test_llama_index_chat_and_stream(llama):
    asked = [ChatMessage(role="user", content="hello")]
    whole = llama.chat(asked)
    assert whole.message.content
    pieces = [piece.delta or "" for piece in llama.stream_chat(asked)]
    assert len(pieces) > 2 and "".join(pieces) == whole.message.content
    assert llama.complete("hello").text


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
def test_llama_index_tool_loop(llama, stream):
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    tools = [FunctionTool.from_defaults(weather)]
    asked = [ChatMessage(role="user", content="please use the tool")]

    def ask(history):
        if not stream:
            return llama.chat_with_tools(tools, chat_history=history)
        return list(llama.stream_chat_with_tools(tools, chat_history=history))[-1]

    first = ask(asked)
    (call,) = llama.get_tool_calls_from_response(first)
    assert call.tool_name == "weather" and set(call.tool_kwargs) == {"city"}
    told = ChatMessage(
        role="tool",
        blocks=[TextBlock(text=weather(**call.tool_kwargs))],
        additional_kwargs={"tool_call_id": call.tool_id, "name": call.tool_name},
    )
    second = ask([*asked, first.message, told])
    assert second.message.content
    assert not llama.get_tool_calls_from_response(second, error_on_no_tool_call=False)
