/** An answer written as JSON, for a question that no form can be drawn for; the server checks it against the schema. */
import { element, pretty } from "./element.js";

let fields = 0;

/** The same as `drawForm` gives; `why` is said above the field. */
export function plainForm(holder, schema, values, why) {
  const id = `json-${(fields += 1)}`;
  const input = element("textarea", { id, rows: 6, spellcheck: "false", class: "json", "aria-describedby": `${id}-why` });
  input.value = values === undefined ? "" : pretty(values);
  const note = element("p", { id: `${id}-why`, class: "note" }, `${why} Write the answer as JSON.`);
  const shown = element("details", {}, element("summary", {}, "What the answer must look like"));
  shown.append(element("pre", { class: "json" }, pretty(schema)));
  const label = element("label", { for: id }, "Answer as JSON");
  holder.replaceChildren(note, shown, element("div", { class: "field" }, label, input));
  return {
    read() {
      const text = input.value.trim();
      if (!text) return {};
      try {
        return JSON.parse(text);
      } catch (fault) {
        throw new Error(`This is not JSON: ${fault.message}`);
      }
    },
    fault({ path }) {
      input.setAttribute("aria-invalid", "true");
      const label = Array.isArray(path) ? path.join(".") : (path ?? "");
      return { label: label || null, go: () => input.focus() };
    },
    clear: () => input.removeAttribute("aria-invalid"),
    disable: (off) => (input.disabled = off),
    close: () => holder.replaceChildren(),
  };
}

/** An answer in plain words, for a question without a schema. */
export function wordsForm(holder, values) {
  const id = `words-${(fields += 1)}`;
  const input = element("textarea", { id, rows: 3 });
  input.value = typeof values === "string" ? values : "";
  holder.replaceChildren(element("div", { class: "field" }, element("label", { for: id }, "Your answer"), input));
  return {
    read: () => input.value,
    fault: () => ({ label: null, go: () => input.focus() }),
    clear: () => input.removeAttribute("aria-invalid"),
    disable: (off) => (input.disabled = off),
    close: () => holder.replaceChildren(),
  };
}
