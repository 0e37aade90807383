"""Engines that cannot be used are told from engines that are not there, before anything connects."""

from __future__ import annotations

import importlib.util
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dbtasks.errors import RouteUnavailable
from dbtasks.runners.docker_door import docker_client, engine_host


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "DOCKER_HOST",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)


def refusal(**environment: str) -> RouteUnavailable:
    with pytest.raises(RouteUnavailable) as caught, docker_client(environment):
        pass
    return caught.value


@pytest.mark.parametrize("host", ["tcp://[::1", "tcp://host:port"])
def test_an_address_that_is_none_is_named(host: str) -> None:
    assert f"DOCKER_HOST={host} cannot be used" in refusal(DOCKER_HOST=host).message


def test_a_machine_is_not_guessed_from_an_address_that_is_none() -> None:
    with pytest.raises(RouteUnavailable, match="cannot be used"):
        engine_host({"DOCKER_HOST": "tcp://[::1"})


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    error = refusal(DOCKER_HOST="tcp://127.0.0.1:1", DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(tmp_path))
    assert "certificate" in error.message
    assert "DOCKER_CERT_PATH" in error.hint


@pytest.mark.skipif(importlib.util.find_spec("paramiko") is not None, reason="ssh can be used here")
def test_the_package_that_ssh_needs_is_named() -> None:
    assert "cannot be used: Install paramiko" in refusal(DOCKER_HOST="ssh://nobody@127.0.0.1:1").message


def test_g04_a_password_in_docker_host_is_not_shown() -> None:
    error = refusal(DOCKER_HOST="tcp://user:hunter2@127.0.0.1:1")
    assert "hunter2" not in f"{error.message} {error.details} {error.hint}"


class Version(BaseHTTPRequestHandler):
    """Answers as an engine does when it is asked for its version."""

    def do_GET(self) -> None:
        body = b'{"ApiVersion": "1.41", "Version": "20.10"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not installed"
)
def test_an_engine_over_tls_is_refused_by_name(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=localhost",
                "-days",
                "1",
            ),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "ca.pem").write_bytes(certificate.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), Version) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            error = refusal(
                DOCKER_HOST=f"tcp://127.0.0.1:{server.server_port}",
                DOCKER_TLS_VERIFY="1",
                DOCKER_CERT_PATH=str(tmp_path),
            )
        finally:
            server.shutdown()
            serving.join()
    assert "over TLS" in error.message, error.details
    assert "ssh -L" in error.hint
