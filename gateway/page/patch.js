/** JSON Patch (RFC 6902), without changing what it is given: a document may stand in more than one place of the past. */

/** The document after the operations. Throws where one does not fit; then nothing has happened. */
export function patched(document, operations) {
  return operations.reduce(apply, document);
}

function apply(document, step) {
  const path = pointer(step.path);
  switch (step.op) {
    case "add":
      return set(document, path, step.value, true);
    case "replace":
      get(document, path);
      return set(document, path, step.value, false);
    case "remove":
      return removed(document, path);
    case "copy":
      return set(document, path, get(document, pointer(step.from)), true);
    case "move": {
      const from = pointer(step.from);
      return set(removed(document, from), path, get(document, from), true);
    }
    case "test":
      if (!same(get(document, path), step.value)) throw new Error(`The test at ${step.path} fails`);
      return document;
    default:
      throw new Error(`There is no operation ${step.op}`);
  }
}

function pointer(text) {
  if (text === "") return [];
  if (typeof text !== "string" || text[0] !== "/") throw new Error("A pointer begins with a slash");
  return text
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function get(document, path) {
  let found = document;
  for (const key of path) {
    if (!holds(found, key)) throw new Error(`There is nothing at ${key}`);
    found = found[key];
  }
  return found;
}

function holds(container, key) {
  if (Array.isArray(container)) return /^(0|[1-9]\d*)$/.test(key) && Number(key) < container.length;
  return typeof container === "object" && container !== null && Object.hasOwn(container, key);
}

function set(document, path, value, insert) {
  if (path.length === 0) return value;
  const [key, ...rest] = path;
  if (rest.length) {
    if (!holds(document, key)) throw new Error(`There is nothing at ${key}`);
    return put(document, key, set(document[key], rest, value, insert));
  }
  if (!Array.isArray(document)) return put(document, key, value);
  const place = key === "-" ? document.length : Number(key);
  if (!/^(-|0|[1-9]\d*)$/.test(key) || place > document.length) throw new Error(`The list has no place ${key}`);
  return document.toSpliced(place, insert ? 0 : 1, value);
}

function removed(document, path) {
  if (path.length === 0) return null;
  const [key, ...rest] = path;
  if (!holds(document, key)) throw new Error(`There is nothing at ${key}`);
  if (rest.length) return put(document, key, removed(document[key], rest));
  if (Array.isArray(document)) return document.toSpliced(Number(key), 1);
  const copy = { ...document };
  delete copy[key];
  return copy;
}

function put(container, key, value) {
  if (Array.isArray(container)) return container.with(Number(key), value);
  if (typeof container !== "object" || container === null) throw new Error(`${key} has no place here`);
  const copy = { ...container };
  // an own property whatever it is called: plain assignment to __proto__ would do something else
  Object.defineProperty(copy, key, { value, writable: true, enumerable: true, configurable: true });
  return copy;
}

function same(one, other) {
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return one === other;
  const keys = Object.keys(one);
  if (Array.isArray(one) !== Array.isArray(other) || keys.length !== Object.keys(other).length) return false;
  return keys.every((key) => Object.hasOwn(other, key) && same(one[key], other[key]));
}
