/**
 * Who looks at the page: a token for this one run, renewed before it runs out.
 *
 * An API key passes through once, as a header, and is kept nowhere. The token lives in this tab's sessionStorage; one
 * that comes with the address (`#token=`) is taken out of it before anything else happens.
 */

const EARLY_MS = 60_000;
const SOONEST_MS = 5_000;
const LATEST_MS = 2_000_000_000;

export class SignInNeeded extends Error {
  final = true;
  message = "This key is not accepted.";
}

export class NoSuchRun extends Error {
  final = true;
  message = "There is no such run, or it is not yours to see.";
}

export class Session {
  #key;
  #path;
  #token = null;
  #renewing = null;
  #timer = 0;
  /** The server's clock less ours, in ms: expiry is told in its time. */
  skew = 0;

  constructor(runId) {
    this.#key = `hocket.token.${runId}`;
    this.#path = `/v1/runs/${encodeURIComponent(runId)}/token`;
  }

  /** Takes up what there is: the address's token, the tab's, or none where none is needed. */
  async open() {
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (given) history.replaceState(null, "", location.pathname + location.search);
    const kept = read(this.#key);
    if (given) await this.#take({ token: given, expires_at: null });
    else if (kept) await this.#take(kept);
    else await this.#request(null);
  }

  /** Opens with an API key, which is sent once and then forgotten. */
  signIn(key) {
    return this.#request(key);
  }

  get opened() {
    return this.#token !== null;
  }

  /** A request of the run's person. A token that is refused is renewed once. */
  async ask(path, options = {}) {
    const first = await this.#send(path, options);
    if (first.status !== 401) return first;
    await first.body?.cancel();
    await this.renew();
    return this.#send(path, options);
  }

  renew() {
    this.#renewing ??= this.#renewed().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  now() {
    return Date.now() + this.skew;
  }

  async #renewed() {
    try {
      await this.#request(this.#token);
    } catch (fault) {
      if (!(fault instanceof SignInNeeded) || this.#token === null) throw fault;
      this.#forget();
      await this.#request(null); // where no keys are set none is asked for
    }
  }

  async #take(kept) {
    this.#token = kept.token;
    const left = kept.expires_at ? Date.parse(kept.expires_at) - Date.now() : 0;
    if (left > EARLY_MS) this.#plan(kept.expires_at);
    else await this.renew();
  }

  async #request(bearer) {
    const headers = { "content-type": "application/json" };
    if (bearer) headers.authorization = `Bearer ${bearer}`;
    const answer = await fetch(this.#path, { method: "POST", headers, cache: "no-store", credentials: "omit" });
    this.#watch(answer);
    if (answer.status === 401 || answer.status === 403) throw new SignInNeeded();
    if (answer.status === 404) throw new NoSuchRun();
    if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
    const { token, expires_at } = await answer.json();
    this.#token = token;
    write(this.#key, { token, expires_at });
    this.#plan(expires_at);
  }

  #plan(expiresAt) {
    clearTimeout(this.#timer);
    const left = Date.parse(expiresAt) - this.now() - EARLY_MS;
    const later = () => this.renew().catch(() => undefined); // whatever is asked next says so
    this.#timer = setTimeout(later, Math.min(Math.max(left, SOONEST_MS), LATEST_MS));
  }

  async #send(path, { headers = {}, ...options }) {
    const all = this.#token ? { ...headers, authorization: `Bearer ${this.#token}` } : headers;
    const answer = await fetch(path, { ...options, headers: all, credentials: "omit" });
    this.#watch(answer);
    return answer;
  }

  #watch(answer) {
    const told = Date.parse(answer.headers.get("date") ?? "");
    const skew = told - Date.now();
    if (!Number.isNaN(told)) this.skew = Math.abs(skew) > 2000 ? skew : 0;
  }

  #forget() {
    this.#token = null;
    write(this.#key, null);
  }
}

function read(key) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(key));
    return typeof kept?.token === "string" ? kept : null;
  } catch {
    return null; // storage is switched off, or holds something else
  }
}

function write(key, value) {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // the token then lives as long as the page does
  }
}
