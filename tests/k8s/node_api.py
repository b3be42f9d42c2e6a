"""A stand-in API server for nodes: the two paths that publishing and reading use, over HTTP, for the real client.

``make test-cluster`` does the same with a real API server; this one also fails on demand.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml


@dataclass
class Cluster:
    """Nodes by name, each with labels and annotations, and the requests received."""

    kubeconfig: Path
    port: int = 0
    nodes: dict[str, dict] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    forbidden: bool = False

    def add(self, name: str, labels: dict[str, str]) -> None:
        self.nodes[name] = {"name": name, "labels": labels, "annotations": {"k3s.io/hostname": name}}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict]:
        self.requests.append(f"{method} {path}")
        address = urlsplit(path)
        name = address.path.removeprefix("/api/v1/nodes").lstrip("/")
        if self.forbidden:
            return 403, {"kind": "Status", "message": 'nodes is forbidden: User "robot" cannot list resource "nodes"'}
        if not name:
            key, _, value = parse_qs(address.query)["labelSelector"][0].partition("=")
            found = [node for node in self.nodes.values() if node["labels"].get(key) == value]
            return 200, {"kind": "NodeList", "apiVersion": "v1", "items": [{"metadata": node} for node in found]}
        if name not in self.nodes:
            return 404, {"kind": "Status", "message": f'nodes "{name}" not found'}
        if method == "PATCH":
            self.nodes[name]["annotations"] |= json.loads(body)["metadata"]["annotations"]
        return 200, {"kind": "Node", "apiVersion": "v1", "metadata": self.nodes[name]}


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Serve a cluster without nodes; write its kubeconfig into ``folder``."""
    cluster = Cluster(folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            code, document = cluster.answer(self.command, self.path, body)
            text = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = _serve

        def log_message(self, *_: object) -> None:
            """No log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cluster.port = server.server_address[1]
    cluster.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(f"http://127.0.0.1:{cluster.port}")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _kubeconfig(url: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
