/** One open question: what is asked, until when, its renderer, the buttons, and the faults of an answer. */
import { button, element, linked, pretty } from "./element.js";
import { formIn, mountRenderer } from "./renderers.js";
import { span, spoken } from "./words.js";

const TITLES = {
  tool_call: "May this tool be used?",
  confirmation: "Please confirm",
  input_required: "Something is needed from you",
};

/** A question that is no longer than this is its own heading. */
const HEADING_MAX = 140;

export class Question {
  #interrupt;
  #panel;
  #holder = element("div", { class: "renderer" });
  #actions = element("div", { class: "actions" });
  #faults = element("div", { class: "faults", tabindex: "-1", role: "alert", hidden: true });
  #note = element("p", { class: "note", hidden: true });
  #clock = element("p", { class: "clock", role: "timer", hidden: true });
  #controls = {};
  #buttons = [];
  #closed = false;
  expired = false;
  /** What the person has chosen here: `{status, read}`. */
  chosen = null;

  /** `panel` is `{now(), several, chose(question), about(interrupt)}`. */
  constructor(interrupt, number, panel) {
    this.#interrupt = interrupt;
    this.#panel = panel;
    const id = `question-${number}`;
    const told = String(interrupt.message ?? "");
    const brief = told !== "" && told.length <= HEADING_MAX && !told.includes("\n");
    const title = brief ? told : (TITLES[interrupt.reason] ?? spoken(interrupt.reason ?? "Question"));
    this.heading = element("h3", { id, tabindex: "-1" }, title);
    const message = told && !brief ? element("p", { class: "message" }, linked(told)) : null;
    this.node = element("article", { class: "question", "aria-labelledby": id }, this.heading, message, this.#about());
    this.node.append(this.#clock, this.#note, this.#holder, this.#faults, this.#actions);
  }

  get id() {
    return this.#interrupt.id;
  }

  /** Draws the renderer; what it throws later is its own. */
  async mount() {
    const api = {
      schema: this.#interrupt.responseSchema ?? null,
      values: this.#interrupt.metadata?.values,
      answer: (payload) => this.#choose({ status: "resolved", read: () => payload }, null),
      cancel: () => this.#choose({ status: "cancelled", read: () => undefined }, null),
      press: (label, read, kind) => this.#press(label, { status: "resolved", read }, kind),
      form: formIn,
      reset: () => {
        this.#actions.replaceChildren();
        this.#buttons = [];
      },
    };
    const { controls, note } = await mountRenderer(this.#holder, this.#interrupt, api);
    if (this.#closed) return void controls.close?.();
    this.#controls = controls;
    this.#press("Cancel the question", { status: "cancelled", read: () => undefined }, "quiet");
    if (note) this.say(note);
    this.tick();
    this.#panel.mounted();
  }

  say(text) {
    this.#note.textContent = text;
    this.#note.hidden = false;
  }

  /** The answer as the server takes it. Throws with words for the person if it cannot be read. */
  answer() {
    const payload = this.chosen.read();
    const { status } = this.chosen;
    return { interrupt_id: this.id, status, ...(payload === undefined ? {} : { payload }) };
  }

  /** Shows faults at their fields, and as a list that leads there. */
  refuse(text, faults) {
    this.clear();
    const list = element("ul", {});
    for (const fault of faults) {
      const { label, go } = this.#controls.fault?.(fault) ?? {};
      const told = label ? `${label}: ${fault.message}` : fault.message;
      list.append(element("li", {}, go ? button(told, go, { class: "link" }) : told));
    }
    this.#faults.replaceChildren(element("p", {}, text), ...(faults.length ? [list] : []));
    this.#faults.hidden = false;
    this.#faults.focus();
  }

  clear() {
    this.#faults.hidden = true;
    this.#controls.clear?.();
  }

  disable(off) {
    const still = off || this.expired;
    this.#controls.disable?.(still);
    for (const one of this.#buttons) one.disabled = still;
    this.node.classList.toggle("off", still);
  }

  /** A second has passed. */
  tick() {
    const until = Date.parse(this.#interrupt.expiresAt ?? "");
    if (Number.isNaN(until)) return;
    const left = until - this.#panel.now();
    this.#clock.hidden = false;
    this.#clock.textContent = left > 0 ? `Open for another ${span(left)}` : "This question has expired.";
    if (left > 0 || this.expired) return;
    this.expired = true;
    this.disable(true);
    this.#panel.announce("The question has expired.");
  }

  close() {
    this.#closed = true;
    this.#controls.close?.();
    this.node.remove();
  }

  #press(label, choice, kind) {
    const made = button(label, () => this.#choose(choice, made), { class: kind });
    if (this.#panel.several) made.setAttribute("aria-pressed", "false");
    this.#buttons.push(made);
    this.#actions.append(made);
  }

  #choose(choice, pressed) {
    if (this.expired) return;
    this.chosen = choice;
    if (this.#panel.several) {
      for (const one of this.#buttons) one.setAttribute("aria-pressed", String(one === pressed));
    }
    this.#panel.chose(this);
  }

  /** The tool call that the question is about, if it is about one. */
  #about() {
    const call = this.#panel.about(this.#interrupt);
    if (!call) return null;
    const name = element("span", { class: "tool-name" }, call.name ?? "tool");
    return element("div", { class: "about" }, name, element("pre", { class: "json" }, pretty(call.text)));
  }
}
