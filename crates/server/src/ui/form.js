// A form from a JSON Schema: one control per input, nested objects as groups, lists and dicts as JSON.

/** `writtenByNode(name)` tells inputs that the workflow overwrites: they are offered, but out of the way. */
export class Form {
  #controls = [];

  constructor(place, schema, writtenByNode) {
    const names = Object.keys(schema.properties ?? {});
    const asked = names.filter((name) => !writtenByNode(name));
    const others = names.filter(writtenByNode);
    const required = new Set(schema.required ?? []);
    const build = (name) => this.#build(schema.properties[name], [name], required.has(name));
    place.replaceChildren(...asked.map(build));
    if (asked.length === 0) place.append(node("p", "quiet", "This workflow asks for nothing."));
    if (others.length > 0) {
      const details = node("details", "others");
      details.append(node("summary", "", "Fields the workflow writes itself"), ...others.map(build));
      place.append(details);
    }
  }

  /** The inputs, without what was left empty, and what cannot be read. */
  read() {
    const inputs = {};
    const faults = [];
    for (const control of this.#controls) {
      const { value, fault } = control.read();
      if (fault) faults.push({ path: control.path, message: fault });
      else if (value !== undefined) put(inputs, control.path, value);
    }
    return { inputs, faults };
  }

  /** Marks the faulty controls and goes to the first; returns the faults that belong to none. */
  showFaults(faults) {
    for (const control of this.#controls) control.clear();
    let first = null;
    const left = faults.filter((fault) => {
      const control = this.#controls.find(({ path }) => path.every((key, index) => key === fault.path[index]));
      if (!control) return true;
      const inside = fault.path.slice(control.path.length);
      control.complain(inside.length > 0 ? `${inside.join(".")}: ${fault.message}` : fault.message);
      first ??= control;
      return false;
    });
    first?.focus();
    return left;
  }

  #build(schema, path, required) {
    if (kind(schema) === "object" && schema.properties && required) {
      const group = node("fieldset");
      const inner = new Set(schema.required ?? []);
      group.append(node("legend", "", path.at(-1)));
      if (schema.description) group.append(node("p", "help quiet", schema.description));
      for (const [name, part] of Object.entries(schema.properties)) {
        group.append(this.#build(part, [...path, name], inner.has(name)));
      }
      return group;
    }
    const control = new Control(schema, path, required);
    this.#controls.push(control);
    return control.element;
  }
}

class Control {
  constructor(schema, path, required) {
    this.path = path;
    this.required = required;
    this.kind = schema.enum ? "choice" : kind(schema);
    this.element = node("div", "field");
    const id = `input-${path.join("-")}`;
    const label = node("label", "", path.at(-1));
    label.htmlFor = id;
    this.input = make(this.kind, schema, required);
    this.input.id = id;
    this.input.name = path.join(".");
    this.fault = node("p", "fault");
    this.fault.id = `${id}-fault`;
    this.fault.hidden = true;
    const head = node("div");
    head.append(label, node("span", "type", describe(schema)));
    if (required) { head.append(node("span", "required", "required")); this.input.setAttribute("aria-required", "true"); }
    this.element.append(head);
    let described = this.fault.id;
    if (schema.description) {
      const help = node("p", "help", schema.description);
      help.id = `${id}-help`;
      described = `${help.id} ${described}`;
      this.element.append(help);
    }
    this.input.setAttribute("aria-describedby", described);
    this.element.append(this.input, this.fault);
    if (schema.default !== undefined && schema.default !== null) this.#fill(schema.default);
  }

  #fill(value) {
    const asText = this.kind === "string" || this.kind === "integer" || this.kind === "number";
    this.input.value = asText ? String(value) : JSON.stringify(value, null, Array.isArray(value) ? 0 : 2);
  }

  read() {
    const text = this.input.value;
    if (this.kind === "string") return { value: text !== "" || this.required ? text : undefined };
    if (text.trim() === "") return {};
    if (this.kind === "integer" || this.kind === "number") {
      const number = Number(text);
      return Number.isNaN(number) ? { fault: "This is not a number." } : { value: number };
    }
    try {
      return { value: JSON.parse(text) };
    } catch (error) {
      return { fault: `This is not JSON: ${error.message}` };
    }
  }

  complain(message) {
    this.fault.textContent = this.fault.hidden ? message : `${this.fault.textContent}\n${message}`;
    this.fault.hidden = false;
    this.input.setAttribute("aria-invalid", "true");
    const others = this.element.closest("details");
    if (others) others.open = true;
  }

  clear() {
    this.fault.hidden = true;
    this.input.removeAttribute("aria-invalid");
  }

  focus() {
    this.input.focus();
  }
}

function make(kind, schema, required) {
  if (kind === "choice" || kind === "boolean") {
    const values = kind === "boolean" ? [true, false] : schema.enum;
    const select = node("select");
    if (!required || kind === "boolean") select.append(new Option("—", ""));
    select.append(...values.map((value) => new Option(typeof value === "string" ? value : JSON.stringify(value), JSON.stringify(value))));
    return select;
  }
  if (kind === "integer" || kind === "number") {
    const input = node("input");
    input.type = "text";
    input.inputMode = kind === "integer" ? "numeric" : "decimal";
    return input;
  }
  const area = node("textarea", kind === "string" ? "" : "json");
  area.rows = kind === "string" && !(schema.maxLength < 80) ? 2 : 1;
  area.spellcheck = kind === "string";
  if (kind === "array") area.placeholder = '["…", "…"]';
  if (kind === "object") area.placeholder = '{"…": "…"}';
  return area;
}

/** The schema's type, `null` left out: `string`, `integer`, `number`, `boolean`, `array`, `object`, or `any`. */
function kind(schema) {
  const options = schema.anyOf ?? schema.oneOf ?? [schema];
  const types = options.flatMap(({ type }) => type ?? []).filter((type) => type !== "null");
  return types.length === 1 ? types[0] : "any";
}

function describe(schema) {
  const names = { string: "text", integer: "whole number", number: "number", boolean: "yes or no", array: "list", object: "object", any: "JSON" };
  if (schema.enum) return "one of";
  const limits = [["minimum", "≥"], ["maximum", "≤"], ["minLength", "length ≥"], ["maxLength", "length ≤"], ["minItems", "items ≥"], ["maxItems", "items ≤"]]
    .filter(([key]) => schema[key] !== undefined)
    .map(([key, sign]) => `${sign} ${schema[key]}`);
  if (schema.format) limits.unshift(schema.format);
  if (schema.pattern) limits.push(`pattern ${schema.pattern}`);
  return [names[kind(schema)], ...limits].join(", ");
}

function put(target, path, value) {
  for (const key of path.slice(0, -1)) target = target[key] ??= {};
  target[path.at(-1)] = value;
}

function node(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
