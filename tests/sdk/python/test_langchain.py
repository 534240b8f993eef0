"""LangChain's OpenAI chat model against the gateway."""

import pytest
import stand
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@pytest.fixture
def model(gateway):
    return ChatOpenAI(
        model="gpt-4o-mini", base_url=f"{gateway.url}/v1", api_key=stand.ACCESS_KEY, timeout=20, stream_usage=True
    )


@tool
def weather(place: str) -> str:
    """The weather of a place."""
    return f"sunny in {place}"


def test_invoke(model):
    answer = model.invoke("hello")
    assert answer.content
    assert answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["model_name"] == "gpt-4o-mini"


def test_stream(model):
    whole = model.invoke("hello")
    chunks = list(model.stream("hello"))
    assert len(chunks) > 2
    assert "".join(chunk.content for chunk in chunks) == whole.content
    usages = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert len(usages) == 1 and usages[0]["output_tokens"] == whole.usage_metadata["output_tokens"]


def test_tools(model):
    answer = model.bind_tools([weather], tool_choice="weather").invoke("hello")
    (call,) = answer.tool_calls
    assert call["name"] == "weather" and set(call["args"]) == {"place"}


def test_batch(model):
    answers = model.batch([f"question {number}" for number in range(8)])
    assert len({answer.content for answer in answers}) == 8
