"""What a user of the OpenAI client gets from the gateway when something is wrong: the right class, code and cost.

A message that starts with `sim:` tells the simulated provider what to do; it is the only thing these tests know of it.
"""

import time

import httpx
import openai
import pytest
import stand
from conftest import client_of


def ask(client, content="hello", model="gpt-4o-mini", **arguments):
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], **arguments
    )


def test_bad_access_key(fresh_gateway):
    before = len(fresh_gateway.taps["openai"].chats())
    with client_of(fresh_gateway, api_key="sk-igris-nobody-knows-this-key-0000") as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            ask(client)
    assert raised.value.status_code == 401
    assert raised.value.code == "invalid_api_key"
    assert raised.value.request_id
    assert len(fresh_gateway.taps["openai"].chats()) == before, "no provider hears of it"


def test_two_credentials_are_none(fresh_gateway):
    headers = {"authorization": f"Bearer {stand.ACCESS_KEY}", "x-api-key": stand.ACCESS_KEY}
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
    answer = httpx.post(f"{fresh_gateway.url}/v1/chat/completions", headers=headers, json=body, trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_unknown_model(fresh_client):
    with pytest.raises(openai.NotFoundError) as raised:
        ask(fresh_client, model="gpt-none-of-this-name")
    assert raised.value.code == "model_not_found"
    assert raised.value.param == "model"


def test_rate_limit_costs_one_round(fresh_client, fresh_gateway):
    tap = fresh_gateway.taps["openai"]
    before = len(tap.chats())
    with pytest.raises(openai.RateLimitError) as raised:
        ask(fresh_client, "sim:fault=429 please")
    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.response.headers["x-should-retry"] == "false"
    # The client would have made three rounds of it; the gateway has already done what can be done.
    attempts = int(raised.value.response.headers["x-igris-attempts"])
    assert 1 <= attempts <= 3
    assert len(tap.chats()) - before == attempts


def test_a_limit_of_the_access_key_is_waited_for(fresh_gateway):
    with client_of(fresh_gateway, api_key=stand.LIMITED_KEY, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as raised:
            for _ in range(60):
                answer = client.chat.completions.with_raw_response.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]
                )
                assert answer.headers["x-ratelimit-limit-requests"] == "30"
        assert raised.value.code == "rate_limit_exceeded"
        assert raised.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        assert 1 <= int(raised.value.response.headers["retry-after"]) <= 2
        # Nothing was tried yet: the client does by itself what helps, and waits as long as it was told.
        assert ask(client.with_options(max_retries=3)).choices[0].message.content


def test_rate_limit_of_one_provider_is_served_by_another(fresh_client, fresh_gateway):
    tap = fresh_gateway.taps["mistral"]
    with pytest.raises(openai.RateLimitError):
        ask(fresh_client, "sim:fault=429/30 please", model="mistral-small-latest")
    before = len(tap.chats())
    answer = ask(fresh_client, model="either")
    assert answer.metadata["provider"] == "openai"
    assert len(tap.chats()) == before, "a provider that asked us to wait is left alone"


def test_refused_credential_is_not_the_callers_fault(fresh_client, fresh_gateway):
    before = len(fresh_gateway.taps["deepseek"].chats())
    with pytest.raises(openai.InternalServerError) as raised:
        ask(fresh_client, model="refused")
    assert raised.value.status_code == 502
    assert raised.value.code == "provider_authentication_failed"
    assert "Provider authentication failed" in raised.value.message
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert stand.CREDENTIALS["deepseek"] not in raised.value.response.text
    assert len(fresh_gateway.taps["deepseek"].chats()) - before == 1


def test_all_providers_unavailable(fresh_client):
    with pytest.raises(openai.InternalServerError) as raised:
        ask(fresh_client, model="down")
    assert raised.value.status_code == 503
    assert raised.value.code == "all_providers_unavailable"
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert raised.value.response.headers["retry-after"]


@pytest.mark.parametrize("status", [500, 503, 529])
def test_broken_provider(fresh_client, fresh_gateway, status):
    tap = fresh_gateway.taps["openai"]
    before = len(tap.chats())
    with pytest.raises(openai.InternalServerError) as raised:
        ask(fresh_client, f"sim:fault={status} please")
    assert raised.value.code
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert 1 <= len(tap.chats()) - before <= 3


def test_malformed_body(fresh_gateway):
    headers = {"authorization": f"Bearer {stand.ACCESS_KEY}", "content-type": "application/json"}
    for body in (b'{"model":', b"[]", b'{"model":"gpt-4o-mini","model":"gpt-4o","messages":[]}', b'{"model":"\xff"}'):
        answer = httpx.post(
            f"{fresh_gateway.url}/v1/chat/completions", headers=headers, content=body, trust_env=False
        )
        assert answer.status_code == 400, body
        error = answer.json()["error"]
        assert error["code"] == "invalid_request" and error["message"] and error["type"] == "invalid_request_error"
        assert answer.headers["x-request-id"]


def test_what_the_provider_refuses_is_told_once(fresh_client, fresh_gateway):
    before = len(fresh_gateway.taps["openai"].chats())
    with pytest.raises(openai.BadRequestError) as raised:
        ask(fresh_client, temperature=99)
    assert raised.value.param == "temperature"
    assert "temperature" in raised.value.message
    assert len(fresh_gateway.taps["openai"].chats()) - before == 1


@pytest.mark.parametrize("fault", ["error@3", "cut@3"])
def test_broken_stream_raises(fresh_client, fault):
    stream = ask(fresh_client, f"sim:fault={fault};tokens=50 please", stream=True)
    chunks = []
    with pytest.raises(openai.APIError) as raised:
        for chunk in stream:
            chunks.append(chunk)
    assert chunks, "what came before the break is delivered"
    assert raised.value.message


def test_client_that_leaves_stops_the_provider(fresh_client, fresh_gateway):
    stream = ask(fresh_client, "sim:tokens=2000;gap=20ms at leisure", stream=True)
    for _ in range(3):
        next(stream)
    upstream = fresh_gateway.taps["openai"].chats()[-1].connection
    assert upstream.closed is None
    stream.close()
    left = time.monotonic()
    # The gateway has 100 ms (rule L5); the rest is for a busy test machine.
    while upstream.closed is None and time.monotonic() - left < 2:
        time.sleep(0.01)
    assert upstream.closed is not None, "the provider goes on writing, and the owner goes on paying"
    assert upstream.closed - left < 1


def test_the_gateway_serves_on_after_all_that(fresh_client):
    for fault in ("garbage", "close", "reset@10", "cut@0", "stall"):
        with pytest.raises(openai.APIError):
            ask(fresh_client.with_options(timeout=1, max_retries=0), f"sim:fault={fault} please")
    assert ask(fresh_client, model="mistral-small-latest").choices[0].message.content
