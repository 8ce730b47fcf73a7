/**
 * A gate's JSON schema as the form library is given it: its drawable part, rebuilt from a fixed list of keywords.
 *
 * The library reads instructions of its own from a schema (templates, links, options); none of an agent's reach it.
 * What only limits an answer is left out too: the server judges, and its faults are shown at the fields.
 */
import { spoken } from "./words.js";

const DEPTH_MAX = 8;
const FIELDS_MAX = 200;
const FORMATS = new Set(["date", "time", "email", "password", "textarea"]);
const LIMITS = ["minimum", "maximum", "maxLength", "minItems", "maxItems", "uniqueItems"];
const BEYOND = ["if", "patternProperties", "dependentSchemas", "prefixItems", "$dynamicRef", "unevaluatedItems"];
const TYPES = new Set(["string", "number", "integer", "boolean", "object", "array"]);

/** The schema cannot become a form; the message says why in words for whoever sits before it. */
export class Undrawable extends Error {}

/** The schema rebuilt for the library. Raises Undrawable. */
export function drawable(schema) {
  return new Drawing(schema).draw(schema, 0, []);
}

/** The names and schemas of the top level's properties, a reference resolved. */
export function properties(schema) {
  try {
    const { properties: found } = new Drawing(schema).resolved(schema, []).schema;
    return isObject(found) ? found : {};
  } catch {
    return {};
  }
}

/** The schema without one property. */
export function without(schema, name) {
  const { [name]: _, ...rest } = properties(schema);
  const flat = new Drawing(schema).resolved(schema, []).schema;
  const required = (flat.required ?? []).filter((one) => one !== name);
  return { ...schema, ...flat, properties: rest, required };
}

class Drawing {
  #root;
  #fields = 0;

  constructor(root) {
    this.#root = root;
  }

  draw(given, depth, trail) {
    if (depth > DEPTH_MAX) throw new Undrawable("it is nested too deeply");
    const { schema, trail: seen } = this.resolved(given, trail);
    const beyond = BEYOND.find((keyword) => keyword in schema);
    if (beyond) throw new Undrawable(`it uses ${beyond}`);
    const made = {};
    for (const name of ["title", "description"]) if (typeof schema[name] === "string") made[name] = schema[name];
    if (schema.default !== undefined) made.default = schema.default;
    if (schema.readOnly === true) made.readOnly = true;
    const union = schema.oneOf ?? schema.anyOf;
    if (Array.isArray(union)) return this.#union(union, schema, made, depth, seen);
    const options = schema.const !== undefined ? [schema.const] : schema.enum;
    if (Array.isArray(options)) return choice(options, [], made);
    return this.#typed(schema, made, depth, seen);
  }

  #typed(schema, made, depth, trail) {
    const types = [schema.type ?? (schema.properties ? "object" : schema.items ? "array" : undefined)].flat();
    const [type, ...others] = types.filter((one) => one !== "null");
    if (!TYPES.has(type)) throw new Undrawable(type ? `it has a field of type ${type}` : "it says not what kind of value");
    if (others.length) throw new Undrawable("it has a field of several types");
    made.type = type;
    for (const name of LIMITS) if (schema[name] !== undefined) made[name] = schema[name];
    if (type === "boolean") made.format = "checkbox";
    if (type === "string" && FORMATS.has(schema.format)) made.format = schema.format;
    else if (type === "string" && schema.maxLength > 200) made.format = "textarea";
    if (type === "array") made.items = this.#items(schema, depth, trail);
    if (type === "object") this.#object(schema, made, depth, trail);
    return made;
  }

  #items(schema, depth, trail) {
    if (!isObject(schema.items)) throw new Undrawable("it has a list that says not of what");
    return this.draw(schema.items, depth + 1, trail);
  }

  #object(schema, made, depth, trail) {
    const found = Object.entries(schema.properties ?? {});
    if (found.length === 0 && schema.additionalProperties !== false) throw new Undrawable("it names no fields");
    this.#fields += found.length;
    if (this.#fields > FIELDS_MAX) throw new Undrawable(`it has more than ${FIELDS_MAX} fields`);
    made.properties = {};
    made.required = (schema.required ?? []).filter((name) => typeof name === "string");
    made.additionalProperties = false;
    for (const [name, inner] of found) {
      if (name === "__proto__") throw new Undrawable("it has a field with a name that no form can hold");
      const part = this.draw(inner, depth + 1, trail);
      part.title ??= spoken(name);
      if (part.enum && part.default === undefined) offer(part, made.required.includes(name));
      made.properties[name] = part;
    }
  }

  #union(union, schema, made, depth, trail) {
    const { oneOf: _, anyOf: __, ...around } = schema;
    const real = union.filter((one) => one?.type !== "null");
    if (real.length === 1) return { ...this.draw({ ...around, ...real[0] }, depth, trail), ...made };
    if (real.every((one) => isObject(one) && one.const !== undefined)) {
      return choice(real.map((one) => one.const), real.map((one) => one.title ?? String(one.const)), made);
    }
    made.oneOf = real.map((one, place) => {
      const drawn = this.draw({ ...around, ...one, title: one?.title }, depth + 1, trail);
      return { ...drawn, title: drawn.title ?? `Kind ${place + 1}` };
    });
    return made;
  }

  /** What a reference stands for, with what stands beside it; and `allOf` as the one schema that it amounts to. */
  resolved(given, trail) {
    if (!isObject(given)) throw new Undrawable("it allows anything, or nothing");
    let schema = given;
    let seen = trail;
    while (schema.$ref !== undefined) {
      const { $ref: target, ...beside } = schema;
      if (seen.includes(target)) throw new Undrawable("it refers to itself");
      seen = [...seen, target];
      schema = { ...this.#find(target), ...beside };
    }
    if (!Array.isArray(schema.allOf)) return { schema, trail: seen };
    const { allOf, ...merged } = schema;
    for (const part of allOf) {
      const { schema: more } = this.resolved(part, seen);
      const fields = { ...merged.properties, ...more.properties };
      const required = [...(merged.required ?? []), ...(more.required ?? [])];
      Object.assign(merged, { ...more, ...merged });
      if (Object.keys(fields).length) Object.assign(merged, { properties: fields, required });
    }
    return { schema: merged, trail: seen };
  }

  #find(target) {
    if (typeof target !== "string" || !target.startsWith("#/")) {
      throw new Undrawable("it refers to a schema that is not part of it");
    }
    let found = this.#root;
    for (const part of decodeURIComponent(target.slice(2)).split("/")) {
      const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
      if (!isObject(found) || !Object.hasOwn(found, key)) throw new Undrawable(`it refers to ${target}, which is missing`);
      found = found[key];
    }
    if (!isObject(found)) throw new Undrawable(`it refers to ${target}, which is no schema`);
    return found;
  }
}

function choice(options, titles, made) {
  const real = options.filter((one) => one !== null);
  const type = typeof real[0];
  if (!real.length || !["string", "number"].includes(type) || !real.every((one) => typeof one === type)) {
    throw new Undrawable("it has a choice between values of several types");
  }
  const names = titles.length ? { options: { enum_titles: titles.map(String) } } : {};
  return { ...made, type, enum: real, ...names };
}

/** Nothing is chosen for a person: what may stay empty has an empty choice, and what may not begins without one. */
function offer(part, required) {
  const titles = part.options?.enum_titles ?? part.enum.map(String);
  if (!required && part.type === "string") {
    part.enum = ["", ...part.enum];
    part.options = { enum_titles: ["Nothing chosen", ...titles] };
  } else {
    const hint = { has_placeholder_option: true, placeholder_option_text: "Choose one" };
    part.options = { enum_titles: titles, ...hint };
  }
}

/** The value without what was left empty, so that a field nobody filled in is absent and not an empty text. */
export function filled(schema, value) {
  if (Array.isArray(value)) return value.map((one) => filled(schema?.items, one));
  if (!isObject(value)) return value;
  const made = {};
  for (const [name, one] of Object.entries(value)) {
    const inner = filled(schema?.properties?.[name], one);
    if (inner === undefined || inner === null || inner === "") continue;
    const hollow = (isObject(inner) || Array.isArray(inner)) && Object.keys(inner).length === 0;
    if (!hollow || schema?.required?.includes(name)) made[name] = inner;
  }
  return made;
}

export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
