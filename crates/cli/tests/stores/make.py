#!/usr/bin/env python3
"""Writes a store file with the flowmill binary that is given.

    crates/cli/tests/stores/make.py path/to/flowmill

Run it with a binary of the commit before a change of the schema, and commit what it writes:
`format-N.sqlite`, the file as `kill -9` left it, and `format-N.json`, what a test has to know of it.
`cli/tests/it/stores.rs` opens every such file with the present binary.
"""

import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
# Signs the webhooks: made up, 32 bytes.
SECRET = "whsec_bGV0bWVpbmxldG1laW5sZXRtZWlubGV0bWVpbjA="
PATIENCE_S = 60


class Model(http.server.BaseHTTPRequestHandler):
    """Says `ok`, refuses run 2 at its end, and never answers what `hangs` has."""

    protocol_version = "HTTP/1.1"
    hangs = {"plan of 5", "part right of 4"}
    asked = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = body["messages"][-1]["content"]
        Model.asked.append(prompt)
        if any(prompt.startswith(start) for start in Model.hangs):
            threading.Event().wait()
        if prompt.startswith("end of 2"):
            return self.answer(400, {"error": {"message": "no", "type": "invalid_request_error"}})
        self.answer(200, {
            "id": "x", "object": "chat.completion", "created": 0, "model": "test",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": json.dumps({"result": "ok"})}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        })

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise SystemExit(f"waited {PATIENCE_S} s for {what}")


def call(method, url, key, body=None, **headers):
    request = urllib.request.Request(url, method=method)
    request.add_header("authorization", f"Bearer {key}")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        return json.load(response)


def dead_address():
    """A port at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    model.daemon_threads = True
    threading.Thread(target=model.serve_forever, daemon=True).start()
    folder = pathlib.Path(tempfile.mkdtemp())
    shutil.copy(HERE / "story.yaml", folder)
    environment = {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model.server_address[1]}/v1",
        "OPENAI_API_KEY": "none",
        "PATH": os.environ["PATH"],
    }
    made = subprocess.run(
        [binary, "keys", "create", "--name", "fixture", "--scope", "run,read,admin",
         "--store", "sqlite:flowmill.db"],
        cwd=folder, env=environment, check=True, capture_output=True, text=True)
    key = re.search(r"fm_[\w-]+", made.stdout).group()
    server = subprocess.Popen(
        [binary, "serve", "story.yaml", "--port", "0", "--max-running", "2",
         "--model", "openai/test", "--webhook-allow", "127.0.0.1"],
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        jobs = fill(server, key)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    connection = sqlite3.connect(folder / "flowmill.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("VACUUM")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    name = f"format-{version}"
    shutil.copy(folder / "flowmill.db", HERE / f"{name}.sqlite")
    (HERE / f"{name}.json").write_text(json.dumps({"key": key, "jobs": jobs}, indent=2) + "\n")
    shutil.rmtree(folder)
    print(f"{name}: {(HERE / name).with_suffix('.sqlite').stat().st_size} bytes")


def fill(server, key):
    """Gives the server its jobs; their ids by what is true of them when it is killed."""
    # Read to its end by a thread, so that the server can go on writing.
    lines = []
    threading.Thread(target=lambda: lines.extend(server.stderr), daemon=True).start()
    url = wait_for("the server", lambda: next(
        (found.group() for line in list(lines) if (found := re.search(r"http://\S+", line))), None))
    receiver = {"url": f"http://{dead_address()}/hook", "secret": SECRET}

    def submit(n, **envelope):
        envelope["inputs"] = {"n": n}
        handle = call("POST", f"{url}/jobs", key, envelope, idempotency_key=f"key-{n}")
        return handle["job_id"]

    def ended(job):
        call("GET", f"{url}/jobs/{job}", key, prefer="wait=60")

    jobs = {"completed": submit(1, metadata={"customer": "Ada"}, webhook=receiver)}
    ended(jobs["completed"])
    wait_for("a try of the webhook", lambda: call(
        "GET", f"{url}/jobs/{jobs['completed']}", key)["webhook"]["last_error"])
    jobs["failed"] = submit(2)
    ended(jobs["failed"])
    # It hangs in the middle of the fan-out, what has completed is saved.
    jobs["running_on"] = submit(4, metadata={"customer": "Bob"}, webhook=receiver)
    wait_for("the fan-out", lambda: "part right of 4" in Model.asked)
    jobs["running_anew"] = submit(5)
    wait_for("the second run", lambda: "plan of 5" in Model.asked)
    jobs["waiting"] = submit(6, metadata={"customer": "Cy"}, webhook=receiver)
    jobs["retried"] = call("POST", f"{url}/jobs/{jobs['failed']}/retry", key)["job_id"]
    cancelled = submit(7)
    call("POST", f"{url}/jobs/{cancelled}/cancel", key)
    jobs["cancelled"] = cancelled
    # What a watcher is shown is in the store.
    wait_for("the checkpoint", lambda: told_a_part(f"{url}/jobs/{jobs['running_on']}/events", key))
    return jobs


def told_a_part(url, key):
    """Reads a run's events up to the first part; a stream that ends or falls silent has none."""
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as lines:
        for line in lines:
            if line.startswith(b":"):
                return False
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                if event["event"] == "node_completed" and event["node"] == "tell":
                    return True
    return False


if __name__ == "__main__":
    main()
