"""What every test file shares: the stand, and clients that point at it."""

import openai
import pytest
import stand


@pytest.fixture(scope="session")
def providers():
    providers = stand.Providers()
    yield providers
    providers.stop()


@pytest.fixture(scope="module")
def gateway(providers):
    """One gateway for all tests of a file: for answers that leave nothing behind."""
    gateway = stand.Gateway(providers)
    yield gateway
    gateway.stop()


@pytest.fixture
def fresh_gateway(providers):
    """A gateway of the test's own: for faults, after which a gateway is right to be careful for a while."""
    gateway = stand.Gateway(providers)
    yield gateway
    gateway.stop()


def client_of(gateway, **settings):
    settings = {"api_key": stand.ACCESS_KEY, "timeout": 20} | settings
    return openai.OpenAI(base_url=f"{gateway.url}/v1", **settings)


@pytest.fixture
def client(gateway):
    with client_of(gateway) as client:
        yield client


@pytest.fixture
def fresh_client(fresh_gateway):
    with client_of(fresh_gateway) as client:
        yield client
