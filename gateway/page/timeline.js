/** Who asked, who decided and what became of it, each with its time and its place in the sequence. */
import { button, element } from "./element.js";
import { moment, person, span, through } from "./words.js";

export class Timeline {
  #list;
  #goTo;
  #drawn = [];

  /** `goTo(seq)` shows the run as it was at an entry. */
  constructor(list, goTo) {
    this.#list = list;
    this.#goTo = goTo;
  }

  draw(marks) {
    marks.forEach((mark, place) => {
      const stamp = `${mark.seq}:${mark.rev}`;
      if (this.#drawn[place]?.stamp === stamp) return;
      const node = this.#row(mark);
      const held = this.#drawn[place];
      if (held) held.node.replaceWith(node);
      else this.#list.append(node);
      this.#drawn[place] = { node, stamp };
    });
    for (const held of this.#drawn.splice(marks.length)) held.node.remove();
  }

  #row(mark) {
    const words = this.#words(mark);
    const what = element("span", { class: "what" }, words.what);
    const more = words.more ? element("span", { class: "more" }, words.more) : null;
    const at = moment(mark.at);
    const time = button(at || `entry ${mark.seq}`, () => this.#goTo(mark.seq), {
      class: "time",
      "aria-label": `Show the run as it was at ${at || "this point"}, entry ${mark.seq}`,
    });
    return element("li", { "data-what": mark.what }, time, element("div", {}, what, more));
  }

  #words(mark) {
    const via = through(mark.face);
    const who = person(mark.by);
    switch (mark.what) {
      case "asked":
        return { what: `${who} asked`, more: via };
      case "answered":
        return { what: `${who} ${this.#answered(mark)}`, more: via };
      case "cancel":
        return { what: `${who} cancelled the run`, more: [via, mark.detail].filter(Boolean).join(": ") };
      case "expired":
        return { what: "Nobody answered in time", more: "The question has expired" };
      case "waits":
        return { what: "Waits for an answer", more: mark.gates.map((gate) => gate.message).filter(Boolean).join(" ") };
      case "step":
        return { what: mark.name, more: mark.open ? "under way" : mark.ended ? `took ${span(mark.ended - mark.at)}` : "" };
      case "attempt":
        return { what: `Attempt ${mark.name}`, more: REASONS[mark.detail] ?? "Another worker took over" };
      case "subagent":
        return { what: `${mark.name ?? "Another agent"} was called in`, more: "" };
      case "subagent-failed":
        return { what: "A called agent failed", more: mark.detail };
      default:
        return { what: PLAIN[mark.what] ?? mark.what, more: mark.detail };
    }
  }

  #answered(mark) {
    const verbs = new Set(mark.answers.map((one) => VERBS[one.decision] ?? VERBS[one.status] ?? "answered"));
    return verbs.size ? [...verbs].join(" and ") : "answered";
  }
}

const VERBS = {
  approve: "approved",
  reject: "rejected",
  answer: "answered",
  resolved: "answered",
  cancelled: "cancelled the question",
};
const REASONS = { worker_lost: "The worker before was lost", shutdown: "The worker before was stopped" };
const PLAIN = {
  started: "Started",
  "went-on": "Went on",
  completed: "Completed",
  cancelled: "Ended as cancelled",
  failed: "Failed",
  "handed-back": "Handed to another worker",
};
