"""An MLflow server for the tests, on a free port, with a folder of its own. Ends when stdin does."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

folder = tempfile.mkdtemp(prefix="flowmill-mlflow-")
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
log = open(os.path.join(folder, "log"), "wb")
server = subprocess.Popen(
    [
        os.path.join(os.path.dirname(sys.executable), "mlflow"), "server",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--serve-artifacts", "--artifacts-destination", f"{folder}/artifacts",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ],
    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
         "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
)


def healthy():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


try:
    deadline = time.monotonic() + 180
    while not healthy():
        if server.poll() is not None or time.monotonic() > deadline:
            with open(log.name, errors="replace") as text:
                sys.exit("MLflow did not start:\n" + text.read()[-4000:])
        time.sleep(0.2)
    print(f"http://127.0.0.1:{port}", flush=True)
    sys.stdin.read()
finally:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
