"""Names, refusals and the request log of the lab's mitmproxy.

Reads `hosts` and `deny` beside this file, writes `log/access.log`.
"""

from pathlib import Path

from mitmproxy import http

DIR = Path(__file__).parent


class Lab:
    def __init__(self):
        lines = (line.split() for line in (DIR / "hosts").read_text().splitlines())
        self.hosts = {name.lower(): ip for ip, name in lines}
        self.deny = set((DIR / "deny").read_text().lower().split())
        self.access = open(DIR / "log" / "access.log", "a", buffering=1)

    def refuse(self, flow):
        # A response that is there already is the demand for a password.
        if flow.response is None and flow.request.host.lower() in self.deny:
            text = f"this proxy does not serve {flow.request.host}\n"
            flow.response = http.Response.make(403, text, {"Content-Type": "text/plain"})

    http_connect = refuse
    requestheaders = refuse

    def server_connect(self, data):
        host, port = data.server.address[:2]
        data.server.address = (self.hosts.get(host.lower(), host), port)

    def log(self, flow):
        request = flow.request
        # Inside a tunnel `request.host` is what the name was resolved to.
        connect = request.method == "CONNECT"
        host = request.host if connect else request.pretty_host
        authority = f"[{host}]" if ":" in host else host
        if connect:
            target = f"{authority}:{request.port}"
        else:
            target = f"{request.scheme}://{authority}:{request.port}{request.path}"
        status = flow.response.status_code if flow.response else "-"
        user = flow.metadata.get("proxyauth", ["-"])[0]
        port = flow.client_conn.peername[1]
        print(request.method, target, request.http_version, status, user, port, file=self.access)

    http_connected = log
    http_connect_error = log
    response = log
    error = log


addons = [Lab()]
