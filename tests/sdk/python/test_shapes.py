"""What Igris sends is what the receiving provider's own SDK could have sent: every client dialect, every provider.

The bodies are those that the taps saw. What a provider's SDK can say is in `shapes`.
"""

import functools
import json
import operator

import httpx
import pytest
import shapes
import stand

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJcfsj6IKMSAwIG9iago8PD4+CmVuZG9iagp0cmFpbGVyCjw8Pj4KJSVFT0YK"
SCHEMA = {
    "type": "object",
    "description": "A place",
    "properties": {
        "city": {"type": "string", "description": "Its name"},
        "days": {"type": "integer", "minimum": 1},
        "kind": {"type": "string", "enum": ["town", "village"]},
        "near": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city", "days", "kind", "near"],
    "additionalProperties": False,
}
INPUT = '{"city":"Kraków","days":2,"kind":"town","near":["a"]}'
MODELS = [
    f"{name}/{model}"
    for name in ("openai", "anthropic", "google", "mistral", "cohere")
    for model in stand.PROVIDERS[name].models
]
ABOUT = "The weather of a place"

# ---- Each client dialect: the path, a plain question, and what may be added to it ----------------------------------


def chat(model):
    words = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"}]
    return "/v1/chat/completions", {"model": model, "messages": words}


CHAT_TOOLS = [
    {"type": "function", "function": {"name": name, "description": ABOUT, "parameters": SCHEMA, "strict": True}}
    for name in ("weather", "traffic")
]
CHAT_CALLS = [
    {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": INPUT}}
    for place, name in enumerate(("weather", "traffic"))
]
CHAT = {
    "plain": {},
    "stream": {"stream": True, "stream_options": {"include_usage": True}},
    "sampling": {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END", "STOP"],
        "frequency_penalty": 0.1,
        "presence_penalty": 0.1,
        "max_completion_tokens": 4096,
        "user": "somebody",
        "metadata": {"a": "b"},
    },
    "developer": {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "hi", "name": "ann"},
        ]
    },
    "picture": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                ],
            }
        ]
    },
    "document": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what does it say?"},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
                ],
            }
        ]
    },
    "tools": {"tools": CHAT_TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
    "any tool": {"tools": CHAT_TOOLS[:1], "tool_choice": "required"},
    "one tool": {"tools": CHAT_TOOLS[:1], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
    "no tool": {"tools": CHAT_TOOLS, "tool_choice": "none"},
    "loop": {
        "tools": CHAT_TOOLS,
        "messages": [
            {"role": "user", "content": "the weather?"},
            {"role": "assistant", "content": None, "tool_calls": CHAT_CALLS},
            {"role": "tool", "tool_call_id": "call_1", "content": "slow"},
            {"role": "tool", "tool_call_id": "call_0", "content": [{"type": "text", "text": "rain"}]},
            {"role": "assistant", "content": "It rains."},
            {"role": "user", "content": "and now?"},
        ],
    },
    "schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
    },
    "json": {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "as JSON please"}]},
    "reasoning": {"reasoning_effort": "low"},
}


def responses(model):
    return "/v1/responses", {"model": model, "instructions": "Be brief.", "input": "hello there"}


RESPONSES_TOOLS = [
    {"type": "function", "name": name, "description": ABOUT, "parameters": SCHEMA, "strict": True}
    for name in ("weather", "traffic")
]
RESPONSES = {
    "plain": {},
    "stream": {"stream": True},
    "sampling": {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 4096,
        "user": "somebody",
        "metadata": {"a": "b"},
    },
    "picture": {
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "what is it?"},
                    {"type": "input_image", "detail": "low", "image_url": f"data:image/png;base64,{PNG}"},
                ],
            }
        ]
    },
    "document": {
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                    {"type": "input_text", "text": "what does it say?"},
                ],
            }
        ]
    },
    "tools": {"tools": RESPONSES_TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
    "any tool": {"tools": RESPONSES_TOOLS[:1], "tool_choice": "required"},
    "one tool": {"tools": RESPONSES_TOOLS[:1], "tool_choice": {"type": "function", "name": "weather"}},
    "loop": {
        "tools": RESPONSES_TOOLS,
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "the weather?"}]},
            {"type": "function_call", "call_id": "call_0", "name": "weather", "arguments": INPUT},
            {"type": "function_call", "call_id": "call_1", "name": "traffic", "arguments": INPUT},
            {"type": "function_call_output", "call_id": "call_0", "output": "rain"},
            {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "slow"}]},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "It rains.", "annotations": []}],
            },
            {"type": "message", "role": "user", "content": "and now?"},
        ],
    },
    "schema": {"text": {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}},
    "reasoning": {
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    },
}


def messages(model):
    words = [{"role": "user", "content": "hello there"}]
    return "/v1/messages", {"model": model, "max_tokens": 8192, "messages": words}


MESSAGES_TOOLS = [{"name": name, "description": ABOUT, "input_schema": SCHEMA} for name in ("weather", "traffic")]
MESSAGES = {
    "plain": {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
    "stream": {"stream": True},
    "sampling": {"temperature": 0.5, "top_k": 40, "stop_sequences": ["END"], "metadata": {"user_id": "u-1"}},
    "picture": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    {"type": "text", "text": "what is it?"},
                ],
            }
        ]
    },
    "document": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "title": "a.pdf",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                    },
                    {"type": "text", "text": "what does it say?"},
                ],
            }
        ]
    },
    "tools": {"tools": MESSAGES_TOOLS, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    "any tool": {"tools": MESSAGES_TOOLS[:1], "tool_choice": {"type": "any"}},
    "one tool": {"tools": MESSAGES_TOOLS[:1], "tool_choice": {"type": "tool", "name": "weather"}},
    "loop": {
        "tools": MESSAGES_TOOLS,
        "messages": [
            {"role": "user", "content": "the weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_0", "name": "weather", "input": {"city": "Kraków"}},
                    {"type": "tool_use", "id": "toolu_1", "name": "traffic", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_0", "content": [{"type": "text", "text": "rain"}]},
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no such road", "is_error": True},
                    {"type": "text", "text": "and now?"},
                ],
            },
        ],
    },
    "picture of a tool": {
        "tools": MESSAGES_TOOLS,
        "messages": [
            {"role": "user", "content": "the weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_0", "name": "weather", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_0",
                        "content": [
                            {"type": "text", "text": "see"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        ],
                    }
                ],
            },
        ],
    },
    "schema": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "reasoning": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
}


def gemini(model):
    words = [{"role": "user", "parts": [{"text": "hello there"}]}]
    return f"/v1beta/models/{model}:generateContent", {"contents": words}


GEMINI_TOOLS = [
    {
        "functionDeclarations": [
            {"name": name, "description": ABOUT, "parametersJsonSchema": SCHEMA} for name in ("weather", "traffic")
        ]
    }
]
GEMINI = {
    "plain": {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
    "sampling": {
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 40,
            "seed": 7,
            "stopSequences": ["END"],
            "maxOutputTokens": 4096,
        }
    },
    "picture": {
        "contents": [
            {"role": "user", "parts": [{"text": "what is it?"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]}
        ]
    },
    "document": {
        "contents": [
            {
                "role": "user",
                "parts": [{"text": "what does it say?"}, {"inlineData": {"mimeType": "application/pdf", "data": PDF}}],
            }
        ]
    },
    "tools": {"tools": GEMINI_TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}},
    "any tool": {"tools": GEMINI_TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    "loop": {
        "tools": GEMINI_TOOLS,
        "contents": [
            {"role": "user", "parts": [{"text": "the weather?"}]},
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"name": "weather", "args": {"city": "Kraków"}},
                        "thoughtSignature": "skip_thought_signature_validator",
                    },
                    {"functionCall": {"name": "traffic", "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "weather", "response": {"result": "rain"}}},
                    {"functionResponse": {"name": "traffic", "response": {"error": "no such road"}}},
                ],
            },
        ],
    },
    "schema": {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}},
    "reasoning": {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2048}}},
}
DIALECTS = {chat: CHAT, responses: RESPONSES, messages: MESSAGES, gemini: GEMINI}

# Where client and provider speak the same dialect the client's bytes pass, and what is in them is between the two.
NATIVE = {(chat, "openai"), (chat, "mistral"), (responses, "openai"), (messages, "anthropic"), (gemini, "google")}
# Passed as it is, and not what Mistral's SDK calls a document.
FOREIGN = {(chat, "document", "mistral")}
# What a provider cannot be told, so that the gateway says no.
REFUSED = {"document": ("cohere", "mistral")}
# Its simulator knows OpenAI's chat and not Mistral's own words (`random_seed`, `any`): what it was sent counts here.
NOT_ITSELF = ("mistral",)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dialect, case", [(dialect, case) for dialect in DIALECTS for case in DIALECTS[dialect]])
def test_shape(gateway, dialect, case, model):
    path, body = dialect(model)
    name = model.partition("/")[0]
    tap = gateway.taps[name]
    before = len(tap.requests)
    answer = httpx.post(
        f"{gateway.url}{path}",
        headers={"authorization": f"Bearer {stand.ACCESS_KEY}", "anthropic-version": "2023-06-01"},
        json=functools.reduce(operator.or_, [body, DIALECTS[dialect][case]]),
        trust_env=False,
        timeout=20,
    )
    native = (dialect, name) in NATIVE
    if name in REFUSED.get(case, ()) and not native:
        assert answer.status_code == 400 and len(tap.requests) == before, answer.text
        return
    assert len(tap.requests) == before + 1, answer.text
    sent = tap.requests[-1]
    if (dialect, case, name) not in FOREIGN:
        try:
            shapes.validate(name, sent.target.partition("?")[0], sent.body)
        except (ValueError, AssertionError) as error:
            raise AssertionError(f"{sent.target} {sent.body.decode()}\n{error}") from None
    assert answer.status_code == 200 or native or name in NOT_ITSELF, f"{answer.text}\n{sent.body.decode()}"


def test_the_types_are_strict():
    """What is not known is refused, deep inside as at the top: else the test above could not fail."""
    words = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    asked = {"model": "m", "messages": words}
    places = {
        ("openai", "/v1/chat/completions"): asked,
        ("openai", "/v1/responses"): {
            "model": "m",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        },
        ("anthropic", "/v1/messages"): asked | {"max_tokens": 5},
        ("google", "/v1beta/models/m:generateContent"): {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
        ("mistral", "/v1/chat/completions"): asked,
        ("cohere", "/v2/chat"): asked,
    }
    for (provider, path), body in places.items():
        shapes.validate(provider, path, json.dumps(body).encode())
        (turn,) = body.get("messages") or body.get("input") or body["contents"]
        (part,) = turn.get("content") or turn["parts"]
        for place in (body, turn, part):
            place["such_a_member"] = 1
            with pytest.raises((ValueError, AssertionError)):
                shapes.validate(provider, path, json.dumps(body).encode())
            del place["such_a_member"]
