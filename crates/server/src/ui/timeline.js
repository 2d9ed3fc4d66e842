// The nodes of a run in the order they started: state, model, tokens, cost, time, text as it arrives.

const STREAM_CHARACTERS = 4000;

export class Timeline {
  #list;
  #rows = [];
  #start = 0;
  #end = 0;

  constructor(list) {
    this.#list = list;
    list.replaceChildren();
  }

  /** Shows one event of the run. */
  show(event, data) {
    const time = Date.parse(data.at);
    if (event === "run_started") this.#start = time;
    this.#end = Math.max(this.#end, time);
    const row = data.node === undefined ? null : this.#row(event, data, time);
    switch (event) {
      case "node_started":
        if (data.item !== undefined) row.items.started += 1;
        // What follows a fan-out begins when all its items have ended; nothing else says so.
        else for (const other of this.#rows) if (other.hasEndedItems()) other.finish("done", other.to);
        break;
      case "llm_delta":
        row.stream.hidden = false;
        row.stream.textContent = (row.stream.textContent + data.text).slice(-STREAM_CHARACTERS);
        row.stream.scrollTop = row.stream.scrollHeight;
        break;
      case "node_retried":
        row.note(`Attempt ${data.attempt}: ${data.reason}`);
        break;
      case "node_warning":
        row.note(data.message);
        break;
      case "node_completed":
        row.add(data.usage);
        if (data.item === undefined) row.finish("done", time, data.duration_ms);
        else { row.items.done += 1; row.to = time; }
        break;
      case "node_failed":
        row.note(data.error);
        if (data.item === undefined) row.finish("failed", time);
        break;
      case "run_completed": case "run_failed": case "run_cancelled":
        for (const open of this.#rows.filter((row) => row.state === "running")) {
          open.finish(event === "run_completed" ? "done" : "failed", open.hasEndedItems() ? open.to : time);
        }
        break;
    }
    for (const each of this.#rows) each.draw(this.#start, this.#end);
  }

  /** A node's latest execution; a start that belongs to no fan-out item opens the next one. */
  #row(event, data, time) {
    const latest = this.#rows.findLast((row) => row.node === data.node);
    const opens = event === "node_started" && (data.item === undefined || latest?.state !== "running");
    if (latest && !opens) return latest;
    const row = new Row(data.node, data.iteration ?? 1, time);
    this.#rows.push(row);
    this.#list.append(row.element);
    return row;
  }
}

class Row {
  state = "running";
  items = { started: 0, done: 0 };
  #usage = { model: null, input_tokens: 0, output_tokens: 0, llm_calls: 0, cost_usd: 0 };
  #duration = null;

  constructor(node, iteration, from) {
    this.node = node;
    this.from = this.to = from;
    this.mark = make("span", "mark");
    this.facts = make("span", "facts");
    this.bar = make("div", "bar");
    this.stream = make("pre", "stream");
    this.stream.hidden = true;
    this.stream.tabIndex = 0;
    const name = make("span", "node");
    name.textContent = iteration > 1 ? `${node} (${iteration})` : node;
    const row = make("div", "row");
    row.append(this.mark, name, this.facts);
    const track = make("div", "track");
    track.append(this.bar);
    this.element = make("li", "running");
    this.element.append(row, track, this.stream);
  }

  add(usage) {
    if (!usage) return;
    this.#usage.model = usage.model ?? this.#usage.model;
    for (const key of ["input_tokens", "output_tokens", "llm_calls"]) this.#usage[key] += usage[key];
    this.#usage.cost_usd = this.#usage.cost_usd === null || usage.cost_usd === null ? null : this.#usage.cost_usd + usage.cost_usd;
  }

  /** Whether it is a fan-out none of whose items is still at work. */
  hasEndedItems() {
    return this.state === "running" && this.items.started > 0 && this.items.done === this.items.started;
  }

  note(text) {
    const note = make("p", "note");
    note.textContent = text;
    this.element.append(note);
  }

  finish(state, time, duration = null) {
    this.state = state;
    this.to = time;
    this.#duration = duration;
    this.stream.hidden = true;
  }

  draw(start, end) {
    const whole = Math.max(end - start, 1);
    const to = this.state === "running" ? end : this.to;
    this.bar.style.setProperty("--from", Math.min((this.from - start) / whole, 1));
    this.bar.style.setProperty("--part", Math.min((to - this.from) / whole, 1));
    this.element.className = this.state;
    this.mark.textContent = { running: "●", done: "✓", failed: "✗" }[this.state];
    this.mark.setAttribute("aria-label", this.state);
    this.mark.setAttribute("role", "img");
    const facts = [];
    if (this.items.started > 0) facts.push(`${this.items.done} of ${this.items.started} items`);
    if (this.#usage.llm_calls > 0) {
      facts.push(this.#usage.model, `${this.#usage.input_tokens} → ${this.#usage.output_tokens} tokens`, cost(this.#usage.cost_usd));
    }
    facts.push(seconds(this.#duration ?? to - this.from));
    this.facts.textContent = facts.filter(Boolean).join(" · ");
  }
}

/** Dollars, or that nobody knows. */
export function cost(dollars) {
  if (dollars === null || dollars === undefined) return "cost unknown";
  if (dollars === 0) return "$0";
  return dollars < 0.01 ? `$${dollars.toPrecision(2)}` : `$${dollars.toFixed(2)}`;
}

/** Milliseconds as a short text. */
export function seconds(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(milliseconds < 10000 ? 2 : 1)} s`;
}

function make(name, className) {
  return Object.assign(document.createElement(name), { className });
}
