/** Makes elements. What is given as text stays text: nothing that an agent says is ever read as HTML. */

/** `properties` are set as properties where the element has them (`hidden`, `onclick`), else as attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A button that sends no form. */
export function button(label, onclick, properties = {}) {
  return element("button", { type: "button", onclick, ...properties }, label);
}

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\\]+[^\s<>"'`\\.,;:!?)\]}]/g;

/** Text whose web addresses are links; no other scheme ever becomes one. */
export function linked(text) {
  const made = document.createDocumentFragment();
  let from = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const link = { href: found[0], rel: "noopener noreferrer nofollow", target: "_blank" };
    made.append(text.slice(from, found.index), element("a", link, found[0]));
    from = found.index + found[0].length;
  }
  made.append(text.slice(from));
  return made;
}

/** A value as people read JSON; text that is itself JSON is laid out, other text stays as it is. */
export function pretty(value) {
  if (typeof value !== "string") return JSON.stringify(value, null, 2) ?? "";
  try {
    const parsed = JSON.parse(value);
    return typeof parsed === "object" && parsed !== null ? JSON.stringify(parsed, null, 2) : value;
  } catch {
    return value;
  }
}
