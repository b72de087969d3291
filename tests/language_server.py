"""The YAML language server that VS Code and Vim use, started from npm: what it answers an editor."""

import json
import shutil
import subprocess
import threading

import pytest

from conftest import ROOT

VERSION = "1.25.0"  # the newest one that runs on Node 20
FOLDER = ROOT / "build" / f"yaml-language-server-{VERSION}"
SETTINGS = {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}
DEADLINE = 60  # seconds; then the server is ended, and the test fails


def install():
    """Install the server once; skip the test where there is no npm. Return the server's script."""
    script = FOLDER / "node_modules/yaml-language-server/bin/yaml-language-server"
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("the YAML language server needs Node.js and npm, which are not installed")
    if not script.exists():
        package = f"yaml-language-server@{VERSION}"
        command = [shutil.which("npm"), "install", "--no-audit", "--no-fund", "--prefix", FOLDER]
        done = subprocess.run([*command, package], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    return script


class LanguageServer:
    """A server that an editor has just started; it speaks JSON-RPC on its standard streams."""

    def __enter__(self):
        self.process = subprocess.Popen(
            ["node", install(), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.timer = threading.Timer(DEADLINE, self.process.kill)
        self.timer.start()
        self.requests = 0
        formats = {"completion": {"completionItem": {"documentationFormat": ["markdown"]}}}
        able = {"workspace": {"configuration": True}, "textDocument": formats}
        self.request("initialize", processId=None, rootUri=None, capabilities=able)
        self._send(method="initialized", params={})
        return self

    def __exit__(self, *error):
        self.timer.cancel()
        self.process.kill()
        self.process.communicate()

    def open(self, uri, text):
        """Open a document and return its diagnostics as [(line from 1, message)]."""
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send(method="textDocument/didOpen", params={"textDocument": document})
        while True:
            message = self._receive()
            if message.get("method") == "textDocument/publishDiagnostics":
                found = message["params"]["diagnostics"]
                return [(item["range"]["start"]["line"] + 1, item["message"]) for item in found]

    def request(self, method, **params):
        """Send a request and return the result."""
        self.requests += 1
        self._send(id=self.requests, method=method, params=params)
        while True:
            message = self._receive()
            if message.get("id") == self.requests and "method" not in message:
                return message["result"]

    def _send(self, **message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _receive(self):
        """Return the next message; answer it first if the server asks something."""
        size = 0
        for line in iter(self.process.stdout.readline, b"\r\n"):
            assert line, "the language server has ended"
            name, _, value = line.partition(b":")
            size = int(value) if name == b"Content-Length" else size
        message = json.loads(self.process.stdout.read(size))
        if "method" in message and "id" in message:
            items = (message.get("params") or {}).get("items", [])  # settings, by section
            self._send(
                id=message["id"],
                result=[SETTINGS if i.get("section") == "yaml" else {} for i in items],
            )
        return message
