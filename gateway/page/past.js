/** All entries so far, and the view at any of them: from the nearest checkpoint, never from the beginning again. */
import { beginning, fold } from "./fold.js";

const CHECKPOINTS_MAX = 64;

export class Past {
  #entries = [];
  #live = beginning();
  #checkpoints = [];
  #every = 250;
  #told = null;
  #guessedWrong = false;

  /** Folds the next entry in; `seq` is one more than the last. */
  add(seq, event) {
    this.#entries.push(event);
    this.#step(this.#live, seq, event);
    if (seq % this.#every === 0) this.#keep();
    return this.#live;
  }

  /**
   * Takes the run's state after entry `seq` as the server tells it. The events do not tell with what state a run was
   * started, so until a snapshot comes it is only guessed to have been empty.
   */
  learn(seq, state) {
    if (this.#told) return;
    this.#told = { seq, state };
    const head = this.#live.seq;
    if (head < seq) return;
    this.#checkpoints = this.#checkpoints.filter((view) => view.seq < seq);
    this.#live = this.at(head);
  }

  /** The state of a view, undefined where it is not known. */
  stateOf(view) {
    return view.guessed && this.#guessedWrong ? undefined : view.state;
  }

  get live() {
    return this.#live;
  }

  /** A view of its own of the run after entry `seq`. */
  at(seq) {
    const nearest = this.#checkpoints.findLast((view) => view.seq <= seq);
    const view = nearest ? structuredClone(nearest) : beginning();
    for (let next = view.seq; next < seq && next < this.#entries.length; next += 1) {
      this.#step(view, next + 1, this.#entries[next]);
    }
    return view;
  }

  #step(view, seq, event) {
    fold(view, seq, event);
    if (this.#told?.seq !== seq) return;
    if (view.guessed && JSON.stringify(view.state ?? {}) !== JSON.stringify(this.#told.state)) this.#guessedWrong = true;
    view.state = this.#told.state;
    view.guessed = view.guessed && !this.#guessedWrong;
  }

  /** Twice as far apart once there are too many: a run of any length keeps a bounded number. */
  #keep() {
    this.#checkpoints.push(structuredClone(this.#live));
    if (this.#checkpoints.length <= CHECKPOINTS_MAX) return;
    this.#every *= 2;
    this.#checkpoints = this.#checkpoints.filter((view) => view.seq % this.#every === 0);
  }
}
