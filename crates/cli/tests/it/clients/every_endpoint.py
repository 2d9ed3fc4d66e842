"""Calls every endpoint of a server through a client that was generated from its OpenAPI document.

    every_endpoint.py FOLDER URL KEY WORKFLOW INPUTS

FOLDER holds the generated package `flowmill_client`; INPUTS are a workflow's inputs as JSON. Each answer has to
have the status that is expected and to be of the type that the client has for it; an endpoint of the client that is
not called is a failure too.
"""

import importlib
import json
import pkgutil
import sys

folder, url, key, workflow, inputs = sys.argv[1:]
sys.path.insert(0, folder)

from flowmill_client import AuthenticatedClient, api, models  # noqa: E402


def endpoints():
    for group in pkgutil.iter_modules(api.__path__):
        package = importlib.import_module(f"flowmill_client.api.{group.name}")
        for endpoint in pkgutil.iter_modules(package.__path__):
            yield endpoint.name, importlib.import_module(f"{package.__name__}.{endpoint.name}")


ENDPOINTS = dict(endpoints())
called = set()


def call(name, status, shape, /, by=None, **parts):
    answer = ENDPOINTS[name].sync_detailed(client=by or client, **parts)
    assert answer.status_code == status, f"{name}: {answer.status_code.value} {answer.content!r}"
    assert isinstance(answer.parsed, shape), f"{name}: {answer.parsed!r} is no {shape}"
    called.add(name)
    return answer.parsed


client = AuthenticatedClient(base_url=url, token=key)
inputs = models.Inputs.from_dict(json.loads(inputs))
asked = inputs.to_dict()

# The server.
assert call("get", 200, models.Overview).status == "running"
assert workflow in [entry.name for entry in call("get_workflows", 200, models.Workflows).workflows]
assert call("get_workflows_name", 200, models.Overview, name=workflow).workflow == workflow
call("get_workflows_name", 404, models.Detail, name="nothing of that name")
assert call("get_health", 200, models.Health).status == "healthy"
call("get_health_live", 200, models.Health)
call("get_health_ready", 200, models.Health)
assert "flowmill_" in call("get_metrics", 200, str)
assert call("get_openapi_json", 200, models.OpenApi).info["title"] == workflow
assert "<html" in call("get_docs", 200, str)

# The workflow.
fields = call("get_schema", 200, models.Fields)
assert fields.workflow == workflow and set(asked) <= set(fields.outputs)
call("get_schema", 200, models.JsonSchemas, format_=models.GetSchemaFormat.JSON_SCHEMA)
ran = call("post_run", 200, models.RunResult, body=inputs)
outputs = ran.outputs.to_dict()
assert asked.items() <= outputs.items(), f"{asked} became {outputs}"
assert call("post_run", 422, models.ValidationFaults, body=inputs, cancel_after="never").detail

# Its jobs.
request = models.JobRequest(inputs=inputs, workflow=workflow, deadline="5m")
job = call("post_jobs", 202, models.RunPending, body=request, idempotency_key="once").job_id
assert call("post_jobs", 202, models.RunPending, body=request, idempotency_key="once").job_id == job
request = models.JobRequest(inputs=inputs, workflow=workflow, deadline="never")
call("post_jobs", 422, models.ValidationFaults, body=request)
ended = call("get_status_job_id", 200, models.Job, job_id=job, prefer="wait=30")
assert ended.status == models.JobStatus.COMPLETED and isinstance(ended.outputs, models.Outputs), ended
assert call("get_jobs_job_id", 200, models.Job, job_id=job).job_id == job
newest = call("get_jobs", 200, models.JobPage, limit=1)
older = call("get_jobs", 200, models.JobPage, limit=1, cursor=newest.next_cursor, status=models.JobStatus.COMPLETED)
assert [page.jobs[0].job_id for page in (newest, older)] == [job, ran.job_id]
assert "run_completed" in call("get_jobs_job_id_events", 200, str, job_id=job, last_event_id="1")
for cancel in ("post_jobs_job_id_cancel", "post_cancel_job_id"):
    assert call(cancel, 409, models.Problem, job_id=job).code == "job_ended"
node = next(iter(ended.usage.nodes.to_dict()))
again = call("post_jobs_job_id_retry", 202, models.RunPending, job_id=job, body=models.RetryRequest(from_=node)).job_id
assert call("get_status_job_id", 200, models.Job, job_id=again, prefer="wait=30").retried_from == job
call("delete_jobs_job_id", 204, type(None), job_id=job)
assert call("get_jobs_job_id", 404, models.Detail, job_id=job).detail == "Job not found"

# Its keys.
asked = models.KeyRequest(name="shop", workflows=[workflow])
made = call("post_keys", 201, models.MadeKey, body=asked)
shop = AuthenticatedClient(base_url=url, token=made.key)
call("post_run", 200, models.RunResult, by=shop, body=inputs)
assert call("get_keys", 403, models.Problem, by=shop).code == "scope_missing"
assert made.id in [entry.id for entry in call("get_keys", 200, models.Keys).keys]
usage = call("get_usage", 200, models.Usages, by=shop).keys
assert [entry.key for entry in usage] == [made.id] and usage[0].today.runs == 1, usage
rotated = call("post_keys_key_id_rotate", 200, models.MadeKey, key_id=made.id, body=models.RotateRequest(grace_seconds=0))
assert call("post_run", 401, models.Problem, by=shop, body=inputs).code == "unauthorized"
assert rotated.id == made.id and rotated.key != made.key
assert call("delete_keys_key_id", 200, models.Key, key_id=made.id).state == models.KeyState.REVOKED

forgotten = sorted(set(ENDPOINTS) - called)
assert not forgotten, f"never called: {forgotten}"
print(f"{len(called)} endpoints")
