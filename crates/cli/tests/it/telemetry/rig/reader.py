"""Reads things back with software that is not flowmill's: MLflow's own client, the decoder of
opentelemetry-proto, the parser of prometheus-client. A question per line of stdin, as JSON; an answer per
line of stdout."""

import base64
import gzip
import json
import os
import sys

os.environ["MLFLOW_TRACKING_URI"] = sys.argv[1]
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

import mlflow
from google.protobuf.json_format import MessageToDict
from mlflow import MlflowClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

client = MlflowClient()


def artifacts(run_id, folder=None):
    found = {}
    for file in client.list_artifacts(run_id, folder):
        if file.is_dir:
            found.update(artifacts(run_id, file.path))
        else:
            found[file.path] = mlflow.artifacts.load_text(
                f"runs:/{run_id}/{file.path}")
    return found


def traces_of(ids, **which):
    return [trace.info.trace_id for trace in mlflow.search_traces(
        locations=ids, return_type="list", **which)]


def runs(question):
    experiment = client.get_experiment_by_name(question["experiment"])
    if experiment is None:
        return []
    ids = [experiment.experiment_id]
    return [{
        "name": run.info.run_name, "status": run.info.status, "start": run.info.start_time,
        "end": run.info.end_time, "params": run.data.params, "metrics": run.data.metrics,
        "tags": run.data.tags, "artifacts": artifacts(run.info.run_id),
        "traces": traces_of(ids, run_id=run.info.run_id),
    } for run in client.search_runs(ids)]


def traces(question):
    experiment = client.get_experiment_by_name(question["experiment"])
    if experiment is None:
        return []
    return [{
        "id": trace.info.trace_id, "state": trace.info.state.value, "tags": trace.info.tags,
        "metadata": trace.info.trace_metadata, "tokens": trace.info.token_usage,
        "request": trace.info.request_preview, "response": trace.info.response_preview,
        "spans": [{
            "id": span.span_id, "parent": span.parent_id, "name": span.name, "type": span.span_type,
            "status": span.status.status_code.value, "error": span.status.description,
            "inputs": span.inputs, "outputs": span.outputs, "attributes": span.attributes,
            "events": [event.name for event in span.events],
        } for span in trace.data.spans],
    } for trace in mlflow.search_traces(
        locations=[experiment.experiment_id], return_type="list")]


def model(question):
    model = client.get_registered_model(question["name"])
    versions = client.search_model_versions(f"name='{question['name']}'")
    return {
        "aliases": model.aliases,
        "versions": sorted(({
            "version": version.version, "tags": version.tags,
            "files": {path: mlflow.artifacts.load_text(f"{version.source}/{path}")
                      for path in [version.tags.get("flowmill.file")] if path},
        } for version in versions), key=lambda version: int(version["version"])),
    }


def alias(question):
    client.set_registered_model_alias(question["name"], question["alias"], question["version"])


def prompt(question):
    prompt = mlflow.genai.load_prompt(f"prompts:/{question['name']}/{question['version']}")
    return {"template": prompt.template, "variables": sorted(prompt.variables)}


def decode(question):
    body = base64.b64decode(question["body"])
    if question["gzip"]:
        body = gzip.decompress(body)
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return MessageToDict(request)


def metrics(question):
    return [{
        "name": family.name, "type": family.type,
        "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
    } for family in text_string_to_metric_families(question["text"])]


print("ready", flush=True)
for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = {"answer": globals()[question["what"]](question)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer, default=str), flush=True)
