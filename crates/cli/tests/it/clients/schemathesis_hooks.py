"""What schemathesis has to know of flowmill that no schema can say.

Every check of schemathesis is on; two of them are wrapped below. `positive_data_acceptance` wants every request that
fits its schema to be accepted: the refusals in BEYOND_SCHEMAS are passed over, each for its reason.
`negative_data_rejection` wants all others to be refused.
"""

import os
from urllib.parse import urlsplit

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

# Webhooks of generated hosts would leave this machine; they go to a receiver of the test's instead.
RECEIVER = os.environ["FLOWMILL_TEST_RECEIVER"]


def faults(kind, place=("body",), message=""):
    """The faults of an answer that are of that kind, at that place or below it, in those words."""
    return lambda answer: [
        entry
        for entry in entries(answer)
        if entry["type"] == kind and entry["loc"][: len(place)] == list(place) and message in entry["msg"]
    ]


BEYOND_SCHEMAS = [
    # A workflow's own `state.rules` are conditions of any kind.
    faults("assertion_error"),
    # Whether a job's workflow has such a node depends on the job.
    faults("value_error", ["body", "from"], "no node of this name"),
    # What the future is depends on the clock.
    faults("value_error", ["body"], "expire in the future"),
    # `admin` and `metrics` go with no workflows: a rule between two members.
    faults("value_error", ["body"], "cannot be restricted to workflows"),
    # To a schema 1e30 is the number that it is with all its digits written out. We keep the first, and refuse what
    # looks like an exact integer and cannot be kept as one, also where the schema takes anything.
    faults("int_parsing_size"),
    # Which addresses may be reached is up to who runs the server.
    faults("value_error", ["body", "webhook", "url"]),
]


def entries(answer):
    detail = answer.get("detail")
    return detail if isinstance(detail, list) else []


def is_beyond_schemas(answer):
    # The key was used before, for something else: that depends on what was sent before.
    if answer.get("code") == "idempotency_key_reused":
        return True
    explained = sum(len(reason(answer)) for reason in BEYOND_SCHEMAS)
    return explained > 0 and explained == len(entries(answer))


@schemathesis.check
def what_fits_is_accepted(ctx, response, case):
    if response.status_code == 422 and is_beyond_schemas(response.json()):
        return
    positive_data_acceptance(ctx, response, case)


def is_unsigned(value):
    """Whether there is an integer in it that has 64 bits without a sign."""
    if isinstance(value, dict):
        return any(is_unsigned(member) for member in value.values())
    if isinstance(value, list):
        return any(is_unsigned(item) for item in value)
    return isinstance(value, int) and 2**63 <= value < 2**64


def is_seconds(text):
    """Whether a header is a number of seconds. Its pattern leaves out some ways to write one, such as 1e3."""
    try:
        return float(text) > 0
    except (TypeError, ValueError):
        return False


@schemathesis.check
def what_does_not_fit_is_refused(ctx, response, case):
    if response.status_code < 300 and is_seconds((case.headers or {}).get("Cancel-After")):
        return
    # Documents call integers `int64`, which generators of clients know; those without a sign are kept, too.
    if response.status_code < 300 and is_unsigned(case.body):
        return
    negative_data_rejection(ctx, response, case)


@schemathesis.hook
def before_call(context, case, kwargs):
    webhook = case.body.get("webhook") if isinstance(case.body, dict) else None
    if not isinstance(webhook, dict) or not isinstance(webhook.get("url"), str):
        return
    try:
        url = urlsplit(webhook["url"])
    except ValueError:
        return
    if url.scheme.lower() in ("http", "https") and url.hostname and len(webhook["url"]) <= 2048:
        case.body = {**case.body, "webhook": {**webhook, "url": RECEIVER}}
