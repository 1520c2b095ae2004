"""Answers about the proxy that a Python library uses, as `src/program.rs` asks.

Usage: answers.py requests|urllib

No connection is made. requests is asked for the connection pool that it would send a request with. urllib sends its
request, and the connection is noted in place of being opened.
"""

import http.client
import io
import os
import platform
import ssl
import sys
import urllib.request

ESCAPES = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


def unescaped(text):
    pieces = iter(text)
    return "".join(ESCAPES[next(pieces)] if piece == "\\" else piece for piece in pieces)


def written(scheme, host, port):
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{scheme}://{host}:{port}".lower()


def requests_version():
    import requests

    return f"requests {requests.__version__}"


def requests_answer(url):
    import requests

    try:
        with requests.Session() as session:
            prepared = session.prepare_request(requests.Request("GET", url))
            settings = session.merge_environment_settings(prepared.url, {}, None, None, None)
            adapter = session.get_adapter(prepared.url)
            pool = adapter.get_connection_with_tls_context(prepared, True, settings["proxies"])
    except (requests.RequestException, ValueError):
        return "error"
    if pool.proxy is None:
        return "direct"
    return written(pool.proxy.scheme, pool.proxy.host, pool.proxy.port)


class Noted(OSError):
    """Raised in place of connecting."""


TLS = ssl.create_default_context()
CONNECTIONS = []


def note(connection):
    CONNECTIONS.append(connection)
    raise Noted


http.client.HTTPConnection.connect = note


def urllib_answer(url):
    CONNECTIONS.clear()
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=TLS))
    try:
        request = urllib.request.Request(url)
        opener.open(request, timeout=1)
    except (OSError, ValueError, http.client.HTTPException):
        pass
    if not CONNECTIONS:
        return "error"
    connection = CONNECTIONS[0]
    if not (request._tunnel_host or request.has_proxy()):
        return "direct"
    is_tls = isinstance(connection, http.client.HTTPSConnection) and not request._tunnel_host
    return written("https" if is_tls else "http", connection.host, connection.port)


ANSWERS = {
    "requests": (requests_version, requests_answer),
    "urllib": (lambda: "urllib", urllib_answer),
}


def main():
    version, answer = ANSWERS[sys.argv[1]]
    stdin = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="\n")
    print(f"{version()} on CPython {platform.python_version()}", file=stdout, flush=True)
    for line in stdin:
        url, *variables = line.rstrip("\n").split("\t")
        os.environ.clear()
        os.environ.update(variable.split("=", 1) for variable in map(unescaped, variables))
        print(answer(unescaped(url)), file=stdout, flush=True)


main()
