/** Sends a person's answers, and says in words what the server made of them. */
import { moment, person, through } from "./words.js";

export class Answers {
  #session;
  #path;
  #kept = null;

  constructor(session, runId) {
    this.#session = session;
    this.#path = `/v1/runs/${encodeURIComponent(runId)}/resume`;
  }

  /**
   * All answers of one press. The result is `{kind, text, faults}`; kind is `recorded`, `refused` (the gate is still
   * open, with faults), `over` (it is not open any more), `forbidden` or `unsent` (the same press may be repeated).
   */
  async send(answers) {
    const body = JSON.stringify({ answers });
    // what may have arrived is repeated under its key, so that it counts once; any other press has a key of its own
    const key = this.#kept?.body === body ? this.#kept.key : uuid();
    this.#kept = { body, key };
    let answer;
    try {
      const headers = { "content-type": "application/json", "idempotency-key": key };
      answer = await this.#session.ask(this.#path, { method: "POST", headers, body });
    } catch (fault) {
      if (fault.final) throw fault;
      return { kind: "unsent", text: "The answer could not be sent: the server cannot be reached. Try again." };
    }
    if (answer.status < 500) this.#kept = null;
    if (answer.ok) return { kind: "recorded", text: "Your answer is recorded." };
    return refusal(answer.status, await answer.json().catch(() => ({})));
  }
}

function refusal(status, problem) {
  switch (problem.code) {
    case "already_resolved":
      return { kind: "over", text: decided(problem.resolved) };
    case "interrupt_expired":
      return { kind: "over", text: "The question has expired: the answer came too late." };
    case "not_waiting":
    case "unknown_interrupt":
      return { kind: "over", text: "The run is not waiting for this answer any more." };
    case "interrupts_missing":
      return { kind: "over", text: "The run asks more than this page showed. Here is what it asks now." };
    case "invalid_answer":
      return { kind: "refused", text: problem.detail ?? "The answer does not fit.", faults: problem.faults ?? [] };
    case "forbidden":
      return { kind: "forbidden", text: "You may look at this run, but not answer it." };
    default:
  }
  if (status === 403) return { kind: "forbidden", text: "You may look at this run, but not answer it." };
  if (status === 413) return { kind: "refused", text: "The answer is too large.", faults: [] };
  if (status >= 500) return { kind: "unsent", text: "The server cannot take the answer just now. Try again." };
  return { kind: "refused", text: problem.detail ?? `The server answered ${status}.`, faults: [] };
}

/** Who was faster, and when. */
export function decided(resolved) {
  if (!resolved) return "Somebody else has decided already.";
  const verb = resolved.status === "cancelled" ? "cancelled the question" : "answered";
  const what = resolved.status === "expired" ? "The question has expired" : `${person(resolved.by)} ${verb}`;
  return `${[what, through(resolved.face), moment(resolved.at)].filter(Boolean).join(", ")}.`;
}

/** randomUUID is there only where the page came over TLS or from this machine. */
function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
