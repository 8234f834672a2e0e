"""A server that speaks Qdrant's REST over a real socket, its answers computed by the client's own local mode."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from qdrant_client import QdrantClient, models


@contextmanager
def qdrant_server(refuse: bool = False) -> Iterator[str]:
    """URL of a running server; with `refuse` it answers everything with 503."""
    local, lock = QdrantClient(":memory:"), Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
            with lock:
                result = None if refuse else answer(local, self.command, self.path.split("?")[0], body)
            payload = json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()
            self.send_response(503 if refuse else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        local.close()


def answer(local: QdrantClient, method: str, path: str, body: Any) -> Any:
    """What Qdrant's REST interface says to one request."""
    _, _, name, *rest = path.split("/")
    match method, rest:
        case "GET", ["exists"]:
            return {"exists": local.collection_exists(name)}
        case "PUT", []:
            return local.create_collection(name, vectors_config=models.VectorParams(**body["vectors"]))
        case "PUT", ["points"]:
            local.upsert(name, [models.PointStruct(**point) for point in body["points"]])
            return {"operation_id": 0, "status": "completed"}
        case "POST", ["points", "count"]:
            return local.count(name).model_dump()
        case "POST", ["points"]:
            return [record.model_dump() for record in local.retrieve(name, body["ids"], with_vectors=True)]
        case "POST", ["points", "query"]:
            found = local.query_points(name, query=body["query"]["nearest"], limit=body["limit"], with_vectors=True)
            return found.model_dump()
    raise AssertionError(f"the client asked {method} {path}, which the fake does not know")
