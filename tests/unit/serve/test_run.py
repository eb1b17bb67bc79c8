"""Where a server listens: one address, one server."""

import pytest
from fastapi import FastAPI

from toolgrove.core.errors import ConfigError
from toolgrove.serve.run import bound, serve


def test_of_two_servers_that_load_at_once_the_later_one_is_told():
    with bound("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with bound("127.0.0.1", port) as second:
            first.listen()
            with pytest.raises(ConfigError, match="cannot listen there") as caught:
                serve(FastAPI(), second, 1.0)
    assert caught.value.where == f"127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["198.51.100.7", "no-such-host.invalid"])
def test_an_address_that_is_not_this_machines_is_refused(host):
    with pytest.raises(ConfigError, match="cannot listen there"):
        bound(host, 0)
