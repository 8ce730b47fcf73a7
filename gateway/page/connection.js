/** One run's events, from the first to the last, each once: a broken stream is taken up after the last number seen. */
import { Frames } from "./frames.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const SILENCE_MS = 60_000;
/** The server breaks a silence every 15 seconds; four times that is a dead connection that nobody closed. */

export class Connection {
  #session;
  #path;
  #told;
  #pause = 0;
  #abort = null;
  #wake = null;
  #over = false;
  seq = 0;

  /** `told.entry(seq, event)` for each entry, which answers true if it ends the run; `told.state(kind, ms)`. */
  constructor(session, path, told) {
    this.#session = session;
    this.#path = path;
    this.#told = told;
    addEventListener("online", () => this.comeBack());
    // a page that the browser had put to sleep may hold a stream that died meanwhile
    addEventListener("pageshow", (shown) => shown.persisted && this.#abort?.abort());
  }

  /** Returns when the run has ended, or the session has; comes back by itself from everything else. */
  async follow() {
    while (!this.#over) {
      try {
        this.#told.state("connecting");
        await this.#stream();
      } catch (fault) {
        if (fault.final) throw fault;
      }
      if (this.#over) break;
      await this.#rest(); // where the server closed the stream of a run that goes on, too
    }
    this.#told.state("ended");
  }

  /** Asks anew at once: something has shown that this page is behind. */
  comeBack() {
    this.#pause = 0;
    if (this.#wake) this.#wake();
    else this.#abort?.abort();
  }

  async #stream() {
    const abort = (this.#abort = new AbortController());
    const headers = { accept: "text/event-stream" };
    if (this.seq) headers["last-event-id"] = String(this.seq);
    let silence = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const answer = await this.#session.ask(this.#path, { headers, signal: abort.signal, cache: "no-store" });
      if (!answer.ok) throw Object.assign(new Error(`The server answered ${answer.status}`), await fatal(answer));
      this.#told.state("live");
      const frames = new Frames();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(silence);
        silence = setTimeout(() => abort.abort(), SILENCE_MS);
        this.#read(frames.push(value));
        if (this.#over) abort.abort();
      }
      if (frames.retry !== null) this.#pause = frames.retry;
    } finally {
      clearTimeout(silence);
    }
  }

  #read(frames) {
    for (const frame of frames) {
      const seq = Number(frame.id);
      if (!Number.isInteger(seq) || seq <= this.seq) continue;
      if (seq !== this.seq + 1) throw new Error("An entry is missing"); // never draw over a hole: read again
      this.seq = seq;
      this.#pause = 0;
      if (this.#told.entry(seq, JSON.parse(frame.data))) this.#over = true;
    }
  }

  async #rest() {
    const pause = Math.min(this.#pause || FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    this.#pause = pause * 2;
    this.#told.state("waiting", pause);
    await new Promise((resolve) => {
      // spread out, so that a gateway that comes back is not met by everyone at once
      const timer = setTimeout(resolve, pause * (0.75 + Math.random() / 2));
      this.#wake = () => (clearTimeout(timer), resolve());
    });
    this.#wake = null;
  }
}

async function fatal(answer) {
  await answer.body?.cancel();
  return { final: answer.status === 404 || answer.status === 403, status: answer.status };
}
