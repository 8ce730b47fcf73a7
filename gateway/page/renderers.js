/**
 * What draws a question. A gate's hint names a renderer; any that is not registered, or that throws, gives way to the
 * form of the gate's schema.
 *
 *     import { registerRenderer } from "/agents/page/renderers.js";
 *     registerRenderer("acme:stars", {
 *       mount(element, interrupt, api) {
 *         const stars = document.createElement("button");
 *         stars.textContent = "Five stars";
 *         stars.onclick = () => api.answer({ stars: 5 });
 *         element.append(stars);
 *       },
 *     });
 *
 * `api` is `{values, schema, answer(payload), cancel(), press(label, read, kind), form(element, schema, values)}`.
 * `mount` may be async and may give back `{fault(fault), clear(), disable(off), close()}`, each of which may be absent.
 */
import { element } from "./element.js";
import { drawForm } from "./form.js";
import { wordsForm } from "./plain.js";
import { isObject, properties, without } from "./schema.js";

const registered = new Map();

/** Makes `renderer` the one of that name. */
export function registerRenderer(name, renderer) {
  if (typeof renderer?.mount !== "function") throw new TypeError(`The renderer ${name} needs a function mount`);
  registered.set(name, renderer);
}

/** The name that the gate gives, if any. */
export function hint(interrupt) {
  const { renderer, xRenderer } = interrupt.metadata ?? {};
  return renderer ?? xRenderer ?? null;
}

/** Draws the question into `holder`; gives back its controls, and a note where the hint could not be followed. */
export async function mountRenderer(holder, interrupt, api) {
  const name = hint(interrupt);
  const own = name === null ? null : registered.get(name);
  const wanted = own && !(name === APPROVAL && !approvable(interrupt)) ? own : null;
  if (wanted) {
    try {
      return { controls: (await wanted.mount(holder, interrupt, api)) ?? {}, note: null };
    } catch (fault) {
      console.error(`The renderer ${name} failed`, fault);
    }
  }
  holder.replaceChildren();
  api.reset();
  const usual = registered.get(approvable(interrupt) ? APPROVAL : GENERIC);
  const note = wanted ? `The renderer ${name} failed, so this is the plain form.` : null;
  return { controls: await usual.mount(holder, interrupt, api), note };
}

const APPROVAL = "hocket:approval";
const GENERIC = "hocket:generic";
const YES_OR_NO = new Set(["confirmation", "tool_call"]);

/** Whether the question is one of yes or no: its schema has a boolean `approved`, or there is none and the reason says so. */
function approvable(interrupt) {
  if (interrupt.responseSchema === undefined || interrupt.responseSchema === null) return YES_OR_NO.has(interrupt.reason);
  return properties(interrupt.responseSchema).approved?.type === "boolean";
}

registerRenderer(APPROVAL, {
  async mount(holder, interrupt, api) {
    const { schema } = api;
    const rest = schema ? without(schema, "approved") : null;
    const values = isObject(api.values) ? omit(api.values, "approved") : undefined;
    const form = rest && Object.keys(rest.properties).length ? await api.form(holder, rest, values) : null;
    const payload = (approved) => () => ({ ...(form?.read() ?? {}), approved });
    api.press("Approve", payload(true), "primary");
    api.press("Reject", payload(false), "danger");
    return form ?? {};
  },
});

registerRenderer(GENERIC, {
  async mount(holder, interrupt, api) {
    const form = api.schema ? await api.form(holder, api.schema, api.values) : wordsForm(holder, api.values);
    api.press("Submit", () => form.read(), "primary");
    return form;
  },
});

function omit(values, name) {
  const { [name]: _, ...rest } = values;
  return rest;
}

/** The form of a schema, as renderers are given it: in an element of its own inside theirs. */
export async function formIn(holder, schema, values) {
  const inner = element("div", { class: "form" });
  holder.append(inner);
  return drawForm(inner, schema, values);
}
