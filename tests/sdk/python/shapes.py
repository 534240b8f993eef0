"""What each provider's own SDK lets its users send, as types that refuse every member they do not know.

The SDKs describe requests by typed dictionaries (openai, anthropic) or by pydantic models (google-genai, mistralai,
cohere). As they stand both forgive: unknown members pass, and lists are looked at only when somebody walks through them.
Here they are rebuilt without that: unknown members are errors, lists are read at once, and numbers in quotes are no
numbers.
"""

import collections.abc
import functools
import inspect
import json
import os
import types
import typing

import pydantic
import typing_extensions
from anthropic.types import message_create_params as anthropic_params
from cohere.v2.client import V2Client
from google.genai import types as google_types
from mistralai.client.models import ChatCompletionRequest as MistralRequest
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as responses_params

REQUIRED = (typing.Required, typing_extensions.Required)
OPTIONAL = (typing.NotRequired, typing_extensions.NotRequired)
# What the API takes under the version we speak to it, and this release of the SDK has no argument for any more.
UNTYPED = {"anthropic": ("temperature", "top_p", "top_k")}
LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)


@functools.cache
def of_request(provider: str, path: str, stream: bool) -> pydantic.TypeAdapter:
    """The types of a request to this provider at this path."""
    if provider == "openai" and path.endswith("/responses"):
        return dictionary(responses_params, "ResponseCreateParams", stream)
    if provider == "openai":
        return dictionary(chat_params, "CompletionCreateParams", stream)
    if provider == "anthropic":
        return dictionary(anthropic_params, "MessageCreateParams", stream)
    if provider == "google":
        return pydantic.TypeAdapter(google_request())
    if provider == "cohere":
        return pydantic.TypeAdapter(cohere_request())
    assert provider == "mistral"
    return pydantic.TypeAdapter(tightened(MistralRequest))


def validate(provider: str, path: str, body: bytes):
    """Raises pydantic's error if the provider's own SDK could not have sent this."""
    members = json.loads(body)
    for name in UNTYPED.get(provider, ()):
        members.pop(name, None)
    adapter = of_request(provider, path, members.get("stream") is True)
    parsed = adapter.validate_json(json.dumps(members), strict=True)
    unknown = list(unknown_in(parsed))
    assert not unknown, f"not of any known kind: {unknown}"


# ---- Typed dictionaries ---------------------------------------------------------------------------------------------


def dictionary(module: types.ModuleType, name: str, stream: bool) -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(strict(getattr(module, f"{name}{'Streaming' if stream else 'NonStreaming'}")))


MADE: dict[type, type] = {}


def strict(kind, inside=()):
    """The same type with strict dictionaries and eager lists; a type that holds itself is free from there on."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if typing_extensions.is_typeddict(kind):
        if kind in inside:
            return typing.Any
        if kind not in MADE:
            MADE[kind] = strict_dictionary(kind, (*inside, kind))
        return MADE[kind]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(strict(argument, inside) for argument in arguments if is_json(argument))]
    if origin in LISTS:
        return list[strict(arguments[0], inside)]
    if origin in (dict, collections.abc.Mapping):
        return dict[arguments[0], strict(arguments[1], inside)]
    if origin is typing.Annotated:
        return strict(arguments[0], inside)
    return typing.Any if kind is object else kind


def is_json(kind) -> bool:
    """Whether it is what is sent: users may also give open files, paths, and blocks of an answer."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return is_json(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return any(is_json(argument) for argument in arguments)
    return origin not in (typing.IO, os.PathLike) and not (
        inspect.isclass(kind) and issubclass(kind, pydantic.BaseModel)
    )


def strict_dictionary(kind, inside):
    fields = {}
    for name, hint in typing_extensions.get_type_hints(kind, include_extras=True).items():
        needed = name in kind.__required_keys__
        while typing.get_origin(hint) in (*REQUIRED, *OPTIONAL):
            needed = typing.get_origin(hint) in REQUIRED
            (hint,) = typing.get_args(hint)
        wrap = typing_extensions.Required if needed else typing_extensions.NotRequired
        fields[name] = wrap[strict(hint, inside)]
    made = typing_extensions.TypedDict(kind.__name__, fields)
    made.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    return made


# ---- Models ---------------------------------------------------------------------------------------------------------


def google_request() -> type[pydantic.BaseModel]:
    """The SDK has no type of the whole request, but one of every member."""
    return pydantic.create_model(
        "GenerateContentRequest",
        __config__=pydantic.ConfigDict(extra="forbid"),
        contents=(list[google_types.Content], ...),
        systemInstruction=(google_types.Content, None),
        tools=(list[google_types.Tool], None),
        toolConfig=(google_types.ToolConfig, None),
        generationConfig=(google_types.GenerationConfig, None),
        safetySettings=(list[google_types.SafetySetting], None),
        cachedContent=(str, None),
        labels=(dict[str, str], None),
        serviceTier=(google_types.ServiceTier, None),
    )


def cohere_request() -> type[pydantic.BaseModel]:
    """What `ClientV2.chat` takes, which says `stream` by the method's name."""
    hints = typing.get_type_hints(V2Client.chat, include_extras=True)
    fields = {}
    for name, parameter in inspect.signature(V2Client.chat).parameters.items():
        if name not in ("self", "request_options"):
            for model in models_in(hints[name]):
                tightened(model)
            needed = parameter.default is inspect.Parameter.empty
            fields[name] = (hints[name], ... if needed else None)
    fields["stream"] = (bool, False)
    return pydantic.create_model("ChatRequest", __config__=pydantic.ConfigDict(extra="forbid"), **fields)


TIGHT: set[type] = set()


def tightened(model: type[pydantic.BaseModel]) -> type[pydantic.BaseModel]:
    """The same model without room for unknown members, in it and in all that it holds, innermost first."""
    if model not in TIGHT:
        TIGHT.add(model)
        for field in model.model_fields.values():
            for inner in models_in(field.annotation):
                tightened(inner)
        model.model_config["extra"] = "forbid"
        model.model_rebuild(force=True)
    return model


def models_in(kind):
    """Every model that a type mentions."""
    kind = getattr(kind, "__value__", kind)
    if inspect.isclass(kind) and issubclass(kind, pydantic.BaseModel):
        yield kind
    for argument in typing.get_args(kind):
        yield from models_in(argument)


def unknown_in(value):
    """The places where mistralai gave up: it keeps what it does not understand under a name of its own."""
    if isinstance(value, pydantic.BaseModel):
        if type(value).__name__.startswith("Unknown"):
            yield value
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from unknown_in(item)
