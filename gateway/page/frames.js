/** Server-sent events, decoded as they come: text in any pieces goes in, whole frames come out. */
export class Frames {
  #rest = "";
  #id = null;
  #event = "";
  #data = [];
  /** The time to stay away that the server asked for last, in ms. */
  retry = null;

  /** The frames that `text` completes, each `{id, event, data}`; `id` is null where the frame has none. */
  push(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    const whole = [];
    for (const line of lines) {
      if (line !== "") this.#field(line.endsWith("\r") ? line.slice(0, -1) : line);
      else if (this.#data.length) whole.push(this.#take());
      else this.#take();
    }
    return whole;
  }

  #take() {
    const frame = { id: this.#id, event: this.#event || "message", data: this.#data.join("\n") };
    this.#id = null;
    this.#event = "";
    this.#data = [];
    return frame;
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment, which keeps the connection alive
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }
}
