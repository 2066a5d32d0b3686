"""What the tests of our own TLS transport share: both event loops, and a certificate to show."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from glasspost.net.tls import server_context


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("shown")
    issued = trustme.CA().issue_cert("mx.house.test")
    issued.cert_chain_pems[0].write_to_path(str(folder / "crt"))
    issued.private_key_pem.write_to_path(str(folder / "key"))
    return server_context(folder / "crt", folder / "key", "1.2")
