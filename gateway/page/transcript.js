/** What was said and done, in order: one element an item, and only what changed is drawn again. */
import { element, linked, pretty } from "./element.js";

const ROLES = { assistant: "Agent", user: "Person", system: "System", developer: "Developer" };

export class Transcript {
  #list;
  #drawn = new Map();

  constructor(list) {
    this.#list = list;
  }

  draw(items) {
    const keys = new Set();
    let place = this.#list.firstElementChild;
    for (const item of items) {
      keys.add(item.key);
      const stamp = `${item.seq}:${item.rev}`;
      let held = this.#drawn.get(item.key);
      if (!held || held.kind !== item.kind) {
        held?.node.remove();
        held = { ...PARTS[item.kind](), kind: item.kind, stamp: null };
        this.#drawn.set(item.key, held);
      }
      if (held.stamp !== stamp) {
        held.stamp = stamp;
        held.node.classList.toggle("abandoned", item.abandoned);
        held.update(item);
      }
      if (held.node !== place) this.#list.insertBefore(held.node, place);
      else place = place.nextElementSibling;
    }
    if (this.#drawn.size === keys.size) return;
    for (const [key, held] of this.#drawn) {
      if (keys.has(key)) continue;
      held.node.remove();
      this.#drawn.delete(key);
    }
  }
}

const PARTS = {
  text() {
    const who = element("p", { class: "who" });
    const body = element("div", { class: "body" });
    return {
      node: element("li", { class: "said" }, who, body),
      update(item) {
        this.node.dataset.role = item.role;
        const name = item.name || ROLES[item.role] || item.role;
        who.textContent = item.abandoned ? `${name}, taken back: another attempt says it anew` : name;
        write(body, item);
      },
    };
  },
  reasoning() {
    const body = element("div", { class: "body" });
    const summary = element("summary", {});
    return {
      node: element("li", { class: "reasoning" }, element("details", {}, summary, body)),
      update(item) {
        summary.textContent = item.open ? "Thinking" : "Thought";
        write(body, item);
      },
    };
  },
  tool() {
    const name = element("span", { class: "tool-name" });
    const state = element("span", { class: "tool-state" });
    const given = element("pre", { class: "json" });
    const results = element("div", {});
    const details = element("details", {}, element("summary", {}, name, " ", state), caption("Given"), given, results);
    return {
      node: element("li", { class: "tool" }, details),
      update(item) {
        name.textContent = item.name ?? "tool";
        const done = item.results.length > 0;
        state.textContent = item.abandoned ? "taken back" : done ? "done" : item.open ? "being called" : "running";
        state.dataset.state = done ? "done" : "running";
        given.textContent = pretty(item.text) || "nothing";
        const told = item.results.map((one) => element("pre", { class: "json" }, pretty(one)));
        results.replaceChildren(...(done ? [caption("Answered"), ...told] : []));
      },
    };
  },
  activity: () => titled("activity"),
  custom: () => titled("custom"),
};

function titled(kind) {
  const name = element("summary", {});
  const value = element("pre", { class: "json" });
  return {
    node: element("li", { class: kind }, element("details", {}, name, value)),
    update(item) {
      name.textContent = item.name ?? kind;
      value.textContent = pretty(item.value);
    },
  };
}

const caption = (text) => element("p", { class: "caption" }, text);

/** While text is still growing it is one text node that is added to; links are made once it is complete. */
function write(body, item) {
  const last = body.childNodes.length === 1 ? body.firstChild : null;
  if (item.open && last?.nodeType === Node.TEXT_NODE && item.text.startsWith(last.data)) {
    last.appendData(item.text.slice(last.data.length));
  } else {
    body.replaceChildren(item.open ? document.createTextNode(item.text) : linked(item.text));
  }
  body.classList.toggle("growing", item.open);
}
