// The playground: a form made from the workflow's own input schema, a run watched event by event.
// Needs nothing but this server. `form.js` builds the form, `events.js` reads the stream,
// `timeline.js` shows the nodes, `key.js` keeps the API key.

import { Form } from "./form.js";
import { readEvents } from "./events.js";
import { askForKey, hasKey, withKey } from "./key.js";
import { Timeline, cost, seconds } from "./timeline.js";

const at = (id) => document.getElementById(id);
const root = document.body.dataset.root;
const page = { form: null, path: "", writers: {}, jobId: null };

at("form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
at("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
});
at("form").addEventListener("input", showCurl);
at("cancel").addEventListener("click", cancel);
at("copy-curl").addEventListener("click", (event) => copy(event.target, at("curl").textContent));
at("copy-outputs").addEventListener("click", (event) => copy(event.target, at("outputs-json").textContent));

start();

function start() {
  open().catch((error) => {
    if (error.status === 401) askForKey(start);
    else fail(`This page could not be set up: ${error.message}`);
  });
}

async function open() {
  const { workflows } = await getJson("workflows");
  const wanted = document.body.dataset.workflow;
  const chosen = workflows.find((workflow) => workflow.name === wanted) ?? workflows[0];
  if (!chosen) throw new Error("no workflow is served");
  if (workflows.length > 1) {
    at("workflows").replaceChildren(...workflows.map(({ name }) => new Option(name, name, false, name === chosen.name)));
    at("workflows").addEventListener("change", (event) => {
      location.href = `${root}workflows/${encodeURIComponent(event.target.value)}`;
    });
    at("picker").hidden = false;
  }
  // The short paths exist only where there is nothing to choose from.
  page.path = workflows.length > 1 ? `workflows/${encodeURIComponent(chosen.name)}/` : "";

  document.title = `${chosen.name} · flowmill`;
  at("name").textContent = chosen.name;
  if (chosen.version) { at("version").textContent = chosen.version; at("version").hidden = false; }
  if (chosen.description) { at("description").textContent = chosen.description; at("description").hidden = false; }
  at("docs-link").href = `${root}${page.path}docs`;
  at("openapi-link").href = `${root}${page.path}openapi.json`;

  const { input, output } = await getJson(`${page.path}schema?format=json-schema`);
  for (const [name, schema] of Object.entries(output.properties ?? {})) {
    page.writers[name] = schema["x-written-by"] ?? [];
  }
  page.form = new Form(at("fields"), input, (name) => (page.writers[name] ?? []).length > 0);
  at("run").disabled = false;
  showCurl();
}

async function run() {
  if (at("run").disabled) return;
  const { inputs, faults } = page.form.read();
  page.form.showFaults(faults);
  if (faults.length > 0) return;

  begin();
  const timeline = new Timeline(at("timeline"));
  try {
    const response = await fetch(`${root}${page.path}run`, {
      method: "POST",
      headers: withKey({ "Content-Type": "application/json", Accept: "text/event-stream" }),
      body: JSON.stringify(inputs),
    });
    if (!response.ok) { await refuse(response); return; }
    page.jobId = response.headers.get("Location")?.split("/").pop() ?? null;
    at("cancel").hidden = page.jobId === null;
    let ended = false;
    for await (const { event, data } of readEvents(response.body)) {
      if (event === "result") continue;
      timeline.show(event, data);
      if (event.startsWith("run_") && event !== "run_started") { ended = true; finish(event, data); }
    }
    if (!ended) fail("The connection ended before the run did. The run goes on; its job tells how it ends.");
  } catch (error) {
    fail(`The server cannot be reached: ${error.message}`);
  } finally {
    at("run").disabled = false;
    at("run").textContent = "Run";
    at("cancel").hidden = true;
    showTotals();
  }
}

function begin() {
  page.jobId = null;
  page.end = null;
  at("run").disabled = true;
  at("run").textContent = "Running…";
  at("state").textContent = "Running…";
  for (const id of ["failure", "outputs-part", "totals"]) at(id).hidden = true;
}

function finish(event, data) {
  page.end = data;
  at("state").textContent = { run_completed: "Completed.", run_failed: "Failed.", run_cancelled: "Cancelled." }[event];
  if (event === "run_failed") fail(data.error);
  if (event === "run_completed") showOutputs(data.outputs);
}

async function refuse(response) {
  const answer = await response.json().catch(() => null);
  if (response.status === 401) askForKey(run);
  if (response.status === 422 && Array.isArray(answer?.detail)) {
    const left = page.form.showFaults(answer.detail.map(({ loc, msg }) => ({ path: loc.slice(1), message: msg })));
    at("state").textContent = "Nothing ran: the inputs do not fit.";
    if (left.length > 0) fail(left.map(({ path, message }) => `${path.join(".") || "body"}: ${message}`).join("\n"));
    return;
  }
  at("state").textContent = "Nothing ran.";
  fail(typeof answer?.detail === "string" ? answer.detail : `The server answered ${response.status}.`);
}

async function cancel() {
  at("cancel").disabled = true;
  try {
    await fetch(`${root}jobs/${page.jobId}/cancel`, { method: "POST", headers: withKey() });
  } finally {
    at("cancel").disabled = false;
  }
}

function fail(message) {
  const place = at(page.form ? "failure" : "page-error");
  place.textContent = message;
  place.hidden = false;
}

function showOutputs(outputs) {
  const parts = [];
  for (const [name, value] of Object.entries(outputs)) {
    const writers = page.writers[name] ?? [];
    const term = element("dt", {}, name);
    if (writers.length > 0) term.append(element("span", { className: "by" }, `by ${writers.join(", ")}`));
    parts.push(element("div", {}, term, element("dd", { className: writers.length > 0 ? "" : "given" }, shown(value))));
  }
  at("outputs").replaceChildren(...parts);
  at("outputs-json").textContent = JSON.stringify(outputs, null, 2);
  at("outputs-part").hidden = false;
}

/** Text as it is, a list of texts or numbers as a list, anything else as JSON. */
function shown(value) {
  if (typeof value === "string") return value;
  const isPlain = (item) => typeof item === "string" || typeof item === "number";
  if (Array.isArray(value) && value.length > 0 && value.every(isPlain)) {
    return element("ol", {}, ...value.map((item) => element("li", {}, String(item))));
  }
  return JSON.stringify(value, null, 2);
}

function showTotals() {
  const facts = [];
  const usage = page.end?.usage;
  if (page.end) facts.push(["Time", seconds(page.end.execution_time_ms)]);
  if (usage) {
    facts.push(["Tokens", `${usage.input_tokens} in, ${usage.output_tokens} out`]);
    facts.push(["Model calls", String(usage.llm_calls)]);
    facts.push(["Cost", cost(usage.cost_usd)]);
  }
  const list = facts.map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value)));
  if (page.jobId) {
    // A link carries no key.
    const link = hasKey() ? page.jobId : element("a", { href: `${root}status/${page.jobId}` }, page.jobId);
    list.push(element("div", {}, element("dt", {}, "Job"), element("dd", {}, link)));
  }
  at("totals").replaceChildren(...list);
  at("totals").hidden = list.length === 0;
}

function showCurl() {
  if (!page.form) return;
  const url = new URL(`${root}${page.path}run`, document.baseURI).href;
  const body = JSON.stringify(page.form.read().inputs);
  const quoted = `'${body.replaceAll("'", "'\\''")}'`;
  const key = hasKey() ? `  -H "Authorization: Bearer $FLOWMILL_API_KEY" \\\n` : "";
  at("curl").textContent = `curl -X POST ${url} \\\n${key}  -H 'Content-Type: application/json' \\\n  -d ${quoted}`;
}

async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Without HTTPS or permission the clipboard is closed: leave the text selected for Ctrl+C.
    const target = button.id === "copy-curl" ? at("curl") : at("outputs-json");
    target.closest("details").open = true;
    getSelection().selectAllChildren(target);
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}

async function getJson(path) {
  const response = await fetch(`${root}${path}`, { headers: withKey({ Accept: "application/json" }) });
  if (!response.ok) throw Object.assign(new Error(`${path} answered ${response.status}`), { status: response.status });
  return response.json();
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
