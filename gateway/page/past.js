/** All entries so far, and the view at any of them: from the nearest checkpoint, never from the beginning again. */
import { beginning, fold } from "./fold.js";

const CHECKPOINTS_MAX = 64;

export class Past {
  #entries = [];
  #live = beginning();
  #checkpoints = [];
  #every = 250;

  /** Folds the next entry in; `seq` is one more than the last. */
  add(seq, event) {
    this.#entries.push(event);
    fold(this.#live, seq, event);
    if (seq % this.#every === 0) this.#keep();
    return this.#live;
  }

  get live() {
    return this.#live;
  }

  /** A view of its own of the run after entry `seq`. */
  at(seq) {
    const nearest = this.#checkpoints.findLast((view) => view.seq <= seq);
    const view = nearest ? structuredClone(nearest) : beginning();
    for (let next = view.seq; next < seq && next < this.#entries.length; next += 1) {
      fold(view, next + 1, this.#entries[next]);
    }
    return view;
  }

  /** Twice as far apart once there are too many: a run of any length keeps a bounded number. */
  #keep() {
    this.#checkpoints.push(structuredClone(this.#live));
    if (this.#checkpoints.length <= CHECKPOINTS_MAX) return;
    this.#every *= 2;
    this.#checkpoints = this.#checkpoints.filter((view) => view.seq % this.#every === 0);
  }
}
