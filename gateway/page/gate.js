/** The questions that a run waits for, answered together: one press for one question, one Send for several. */
import { decided } from "./answer.js";
import { button, element } from "./element.js";
import { Question } from "./question.js";

let shown = 0;

export class Gate {
  #section;
  #notice;
  #answers;
  #page;
  #questions = [];
  #ids = "";
  #send = null;
  #busy = false;
  /** This page's answer to these questions is in, or cannot be: they are not to be answered here again. */
  #shut = false;
  #past = false;
  #mine = false;

  /** `page` is `{now(), about(interrupt), announce(text), stale(), fault(error)}`. */
  constructor(section, notice, answers, page) {
    this.#section = section;
    this.#notice = notice;
    this.#answers = answers;
    this.#page = page;
    setInterval(() => this.#questions.forEach((question) => question.tick()), 1000);
  }

  /** Shows what is open. A question that stays open stays as it is, with what was typed in it. */
  show(gates, decision) {
    const ids = keyOf(gates);
    if (ids === this.#ids) return;
    const before = this.#questions.map((question) => question.id);
    const inside = this.#section.contains(document.activeElement);
    this.#ids = ids;
    if (gates.length && gates.every((gate) => before.includes(gate.id))) this.#keep(gates);
    else {
      this.#close();
      if (gates.length) return void this.#open(gates);
    }
    if (before.length && decision) this.#tellDecision(decision, inside);
  }

  /** Some of several questions were answered elsewhere; the rest is still to be answered here. */
  #keep(gates) {
    for (const question of this.#questions) {
      if (!gates.some((gate) => gate.id === question.id)) question.close();
    }
    this.#questions = this.#questions.filter((question) => gates.some((gate) => gate.id === question.id));
    this.#shut = false;
    this.#disable();
  }

  /** In the past nothing can be answered; the form stays as it is until the way back. */
  look(past, gates) {
    const same = keyOf(gates) === this.#ids;
    this.#section.hidden = this.#questions.length === 0 || (past && !same);
    this.#section.classList.toggle("past", past);
    if (past === this.#past) return;
    this.#past = past;
    this.#disable();
  }

  #open(gates) {
    const several = gates.length > 1;
    this.#busy = this.#mine = this.#shut = false;
    this.#notice.hidden = true;
    const panel = {
      ...this.#page,
      several,
      chose: (question) => this.#chose(question),
      mounted: () => this.#disable(),
    };
    this.#questions = gates.map((gate) => new Question(gate, (shown += 1), panel));
    const title = several ? "The run asks you several things" : "The run asks you";
    this.#section.replaceChildren(element("h2", {}, title), ...this.#questions.map((question) => question.node));
    this.#send = null;
    if (several) {
      this.#send = button("Send all answers", () => this.#submit(), { class: "primary", "aria-describedby": "send-hint" });
      const hint = element("p", { id: "send-hint", class: "hint" }, "Choose an answer to each question first.");
      this.#section.append(element("div", { class: "send" }, this.#send, hint));
    }
    this.#section.hidden = false;
    for (const question of this.#questions) question.mount().catch((fault) => this.#page.fault(fault));
    this.#page.announce(several ? `The run asks ${gates.length} questions.` : "The run asks you a question.");
    if (!typing()) this.#questions[0].heading.focus();
  }

  #chose(question) {
    if (!this.#send) return void this.#submit();
    const left = this.#questions.filter((one) => !one.chosen).length;
    const hint = this.#section.querySelector("#send-hint");
    hint.textContent = left ? `${left} of ${this.#questions.length} still without an answer.` : "Ready to send.";
    question.clear();
  }

  async #submit() {
    if (this.#busy || this.#shut || this.#past) return; // a double click is one press
    const open = this.#questions.find((one) => !one.chosen);
    if (open) return void open.heading.focus();
    const answers = [];
    for (const question of this.#questions) {
      question.clear();
      try {
        answers.push(question.answer());
      } catch (fault) {
        return void question.refuse("This is not an answer yet.", [{ path: "", message: fault.message }]);
      }
    }
    this.#busy = true;
    this.#section.setAttribute("aria-busy", "true");
    const ids = this.#ids;
    const inside = this.#section.contains(document.activeElement);
    try {
      this.#heard(await this.#answers.send(answers), ids, inside);
    } catch (fault) {
      this.#page.fault(fault);
    } finally {
      this.#section.removeAttribute("aria-busy");
      this.#busy = false;
    }
  }

  #heard(answer, ids, inside) {
    const gone = this.#ids !== ids; // the events were faster than the answer
    switch (answer.kind) {
      case "recorded":
        this.#mine = true;
        if (!gone) this.#shutDown();
        return this.#tell(answer.text, inside);
      case "over":
        if (!gone) this.#shutDown();
        this.#tell(answer.text, true);
        return this.#page.stale();
      case "forbidden":
        if (!gone) this.#shutDown();
        return this.#tell(answer.text, true);
      default:
    }
    if (gone) return this.#tell(answer.text, true);
    const faults = answer.faults ?? [];
    const told = this.#questions.map((question) => [question, faults.filter((one) => one.interrupt_id === question.id)]);
    const touched = told.filter(([, its]) => its.length);
    if (!touched.length) return this.#questions[0].refuse(answer.text, faults);
    for (const [question, its] of touched) question.refuse("The answer does not fit yet.", its);
    touched[0][0].node.querySelector(".faults").focus();
  }

  #tellDecision(decision, focus) {
    if (this.#busy || this.#mine) return; // what became of this page's own answer is told by that
    const { by, face, at, what, statuses } = decision;
    if (what === "ask.expire") this.#tell("Nobody answered in time: the question has expired.", focus);
    else if (what === "ask.cancel") this.#tell("The run was cancelled, and the question with it.", focus);
    else this.#tell(decided({ by, face, at, status: statuses.length === 1 ? statuses[0] : "resolved" }), focus);
  }

  #tell(text, focus) {
    this.#notice.textContent = text;
    this.#notice.hidden = false;
    this.#page.announce(text);
    if (focus) this.#notice.focus();
  }

  #shutDown() {
    this.#shut = true;
    this.#disable();
  }

  #disable() {
    const off = this.#shut || this.#past;
    for (const question of this.#questions) question.disable(off);
    if (this.#send) this.#send.disabled = off;
  }

  #close() {
    for (const question of this.#questions) question.close();
    this.#questions = [];
    this.#section.hidden = true;
    this.#section.replaceChildren();
  }
}

const keyOf = (gates) => JSON.stringify(gates.map((gate) => gate.id));

/** Whoever is typing is not torn away from it. */
function typing() {
  const { activeElement: at } = document;
  return Boolean(at?.matches("input:not([type=range]), textarea, select") || at?.isContentEditable);
}
