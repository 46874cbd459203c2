"""A local server that answers as the Hugging Face hub does to an upload, and records the requests."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml
from attrs import define, field

COMMIT = "a" * 40


@define
class Hub:
    """The state of the server.

    Attributes:
        token: Token that is accepted.
        repositories: Existing repositories, with the files of each by branch and name.
        refused: Status for each request for a commit; 0 accepts it.
        requests: Method and path of each request.
        objects: Content of large files by their SHA-256.
    """

    token: str = "hf_right"  # noqa: S105 -- no secret
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(factory=dict)
    private: dict[str, bool] = field(factory=dict)
    refused: int = 0
    requests: list[str] = field(factory=list)
    objects: dict[str, bytes] = field(factory=dict)
    url: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """The status and the JSON values for a request."""
        self.requests.append(f"{method} {path}")
        path = path.partition("?")[0]
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path.startswith("/objects/"):
            self.objects[path.removeprefix("/objects/")] = body
            return 200, {}
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._lfs(each) for each in json.loads(body)["objects"]]}
        _, _, _, owner, name, *rest = [*path.split("/"), ""]
        files = self.repositories.get(f"{owner}/{name}")
        if files is None:
            return 404, {"error": "Repository not found"}
        return self._of_repository(files, rest, body)

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        url = f"{self.url}/{name}"
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": url}
        self.repositories[name] = {"main": {}}
        self.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
        return 200, {"url": url, "name": name}

    def _validate(self, card: str) -> tuple[int, Any]:
        front = yaml.safe_load(card.split("---\n")[1])
        errors = [] if front.get("license") else [{"message": "license is required"}]
        return 200 if not errors else 400, {"error": "invalid", "errors": errors, "warnings": []}

    def _lfs(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {**asked, "actions": {"upload": {"href": f"{self.url}/objects/{asked['oid']}"}}}

    def _of_repository(self, files: dict[str, dict[str, bytes]], rest: list[str], body: bytes) -> tuple[int, Any]:
        kind, branch = rest[0], rest[1]
        if kind == "preupload":
            asked = json.loads(body)["files"]
            modes = {True: "lfs", False: "regular"}
            answers = [
                {
                    "path": f["path"],
                    "uploadMode": modes[f["path"].endswith((".onnx", ".safetensors"))],
                    "shouldIgnore": False,
                    "oid": None,
                }
                for f in asked
            ]
            return 200, {"files": answers}
        if kind == "branch":
            if branch in files:
                return 409, {"error": "Reference already exists"}
            files[branch] = {}
            return 200, {}
        if kind == "commit":
            return (
                (self.refused, {"error": "You don't have the rights"})
                if self.refused
                else self._commit(files[branch], body)
            )
        return 200, {"id": "x", "sha": COMMIT}

    def _commit(self, files: dict[str, bytes], body: bytes) -> tuple[int, Any]:
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        return 200, {
            "success": True,
            "commitOid": COMMIT,
            "commitUrl": f"{self.url}/me/small/commit/{COMMIT}",
            "hookOutput": "",
        }


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Let a hub answer at its address while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            is_object = self.path.startswith("/objects/")
            if is_object or self.headers.get("authorization") == f"Bearer {hub.token}":
                status, values = hub.answer(self.command, self.path, body)
            else:
                status, values = 401, {"error": "Invalid credentials in Authorization header"}
            data = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            if status >= 400:
                self.send_header("x-error-message", values["error"])
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_HEAD = _respond  # noqa: N815 -- names that http.server calls

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
