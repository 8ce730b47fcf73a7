/** The slider that drags a run back through its sequence, and the way back to live. */

export class Replay {
  #bar;
  #slider;
  #output;
  #back;
  #changed;
  #head = 0;
  /** The number that is looked at, or null while live. */
  seq = null;

  /** `changed()` is called whenever another moment is looked at. */
  constructor(bar, changed) {
    this.#bar = bar;
    this.#slider = bar.querySelector("input");
    this.#output = bar.querySelector("output");
    this.#back = bar.querySelector("button");
    this.#changed = changed;
    this.#slider.addEventListener("input", () => this.goTo(Number(this.#slider.value)));
    this.#back.addEventListener("click", () => {
      this.goTo(this.#head);
      this.#slider.focus();
    });
  }

  /** The last number there is. The thumb follows it while live and stays put in the past. */
  reach(head) {
    if (head === this.#head) return;
    this.#head = head;
    this.#bar.hidden = head < 2;
    this.#slider.max = String(head);
    this.#show();
  }

  goTo(seq) {
    this.seq = seq >= this.#head ? null : Math.max(1, seq);
    this.#show();
    this.#changed();
  }

  #show() {
    const past = this.seq !== null;
    const at = this.seq ?? this.#head;
    this.#slider.value = String(at);
    this.#slider.setAttribute("aria-valuetext", past ? `entry ${at} of ${this.#head}` : `live, entry ${at}`);
    this.#output.textContent = `${at.toLocaleString()} of ${this.#head.toLocaleString()}`;
    this.#back.hidden = !past;
    this.#bar.classList.toggle("past", past);
  }
}
