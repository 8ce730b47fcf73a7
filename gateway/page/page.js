/** The page of one run: puts its parts together, and draws at most once a frame. */
import { Answers } from "./answer.js";
import { Connection } from "./connection.js";
import { element, linked, pretty } from "./element.js";
import { ended, spoken } from "./fold.js";
import { Gate } from "./gate.js";
import { Past } from "./past.js";
import { Replay } from "./replay.js";
import { NoSuchRun, Session, SignInNeeded } from "./session.js";
import { askForKey } from "./signin.js";
import { Timeline } from "./timeline.js";
import { Transcript } from "./transcript.js";
import { moment, span, statusWords } from "./words.js";

const at = (id) => document.getElementById(id);
const runId = decodeURIComponent(location.pathname.split("/").at(-1));
const path = `/v1/runs/${encodeURIComponent(runId)}`;

const session = new Session(runId);
const past = new Past();
const replay = new Replay(at("replay"), draw);
const transcript = new Transcript(at("transcript"));
const timeline = new Timeline(at("timeline"), (seq) => replay.goTo(seq));
const gate = new Gate(at("gate"), at("notice"), new Answers(session, runId), {
  now: () => session.now(),
  announce,
  stale: () => connection.comeBack(),
  fault: (fault) => failed(fault),
  about: (interrupt) => (interrupt.toolCallId ? past.live.index.get(`t:${interrupt.toolCallId}`) : null),
});
const connection = new Connection(session, `${path}/events`, { entry, state: connected });

let planned = false;
let shownStatus = "";
let shownState;

function entry(seq, event) {
  const view = past.add(seq, event);
  draw();
  return ended(view) && !event.type.startsWith("ask."); // the end that a cancel owes comes after it
}

function draw() {
  if (planned) return;
  planned = true;
  // a hidden tab has no frames, but its questions must not wait for someone to look
  if (document.hidden) setTimeout(paint, 100);
  else requestAnimationFrame(paint);
}

function paint() {
  planned = false;
  const live = past.live;
  replay.reach(live.seq);
  const inPast = replay.seq !== null;
  const view = inPast ? past.at(replay.seq) : live;
  const follows = !inPast && atTheEnd();
  transcript.draw(view.items);
  timeline.draw(view.marks);
  drawStanding(view, inPast);
  drawState(past.stateOf(view));
  gate.show(live.gates, live.decision);
  gate.look(inPast, view.gates);
  at("error").hidden = !view.error;
  at("error").textContent = view.error ? [view.error.message, view.error.code && `(${view.error.code})`].filter(Boolean).join(" ") : "";
  at("cancel").hidden = inPast || ended(live);
  document.body.classList.toggle("in-past", inPast);
  if (follows) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

function drawStanding(view, inPast) {
  const words = statusWords(view.status);
  const status = at("status");
  status.hidden = false;
  status.dataset.status = view.status;
  status.textContent = words;
  at("agent").textContent = view.agent ?? "Run";
  at("connection").hidden = inPast;
  at("then").hidden = !inPast;
  at("then").textContent = inPast ? `As it was at ${moment(view.at)}` : "";
  if (inPast) return;
  document.title = `${words}: ${view.agent ?? runId}`;
  if (shownStatus && shownStatus !== words && view.status !== "waiting") announce(`The run is now: ${words}.`);
  shownStatus = words;
}

function drawState(state) {
  if (state === shownState) return;
  shownState = state;
  const empty = state === undefined || state === null || (typeof state === "object" && !Object.keys(state).length);
  at("state").hidden = empty;
  if (!empty) at("state").querySelector("pre").textContent = pretty(state);
}

function atTheEnd() {
  const { scrollHeight, clientHeight, scrollTop } = document.documentElement;
  return scrollHeight - clientHeight - scrollTop < 60 && scrollTop > 0;
}

function announce(text) {
  at("announcer").textContent = text;
}

function connected(kind, ms) {
  const words = {
    connecting: "Connecting",
    live: "Live",
    waiting: `Connection lost, trying again in ${span((ms ?? 0) + 999)}`,
    ended: "The run has ended",
  };
  at("connection").textContent = words[kind];
  at("connection").dataset.kind = kind;
}

function failed(fault) {
  const known = fault.status === 404 ? new NoSuchRun() : fault;
  const signedOut = fault instanceof SignInNeeded ? "You have been signed out. Reload the page to sign in again." : null;
  at("trouble").textContent = signedOut ?? (known.final ? known.message : `The run cannot be shown: ${fault.message}`);
  at("trouble").hidden = false;
  at("connection").textContent = "Not connected";
}

/** What the events do not tell: with what the run was asked, and what came of it. */
async function describe() {
  const answer = await session.ask(`${path}?include=messages,state`, { headers: { accept: "application/json" } });
  if (answer.status === 404) throw new NoSuchRun();
  if (!answer.ok) return;
  const run = await answer.json();
  past.learn(run.seq, run.state ?? {});
  const facts = [`Run ${run.id}`, run.created_at && `begun ${moment(run.created_at)}`];
  if (run.ended_at) facts.push(`took ${span(Date.parse(run.ended_at) - Date.parse(run.created_at))}`);
  at("facts").textContent = facts.filter(Boolean).join(" · ");
  const last = (run.messages ?? []).findIndex((message) => message.role !== "user" && message.role !== "system");
  const asked = (last === -1 ? run.messages ?? [] : run.messages.slice(0, last)).filter((one) => one.role === "user");
  at("asked").replaceChildren(...asked.map(question));
  at("result").hidden = run.result === undefined || run.result === null;
  at("result").querySelector("pre").textContent = pretty(run.result ?? "");
}

function question(message) {
  const body = element("div", { class: "body" }, linked(spoken(message.content)));
  return element("li", { class: "said", "data-role": "user" }, element("p", { class: "who" }, "Asked"), body);
}

/** Cancelling takes a second press, because it cannot be taken back. */
function offerCancel() {
  const cancel = at("cancel");
  let sure = 0;
  cancel.addEventListener("click", async () => {
    if (!sure) {
      cancel.textContent = "Press again to cancel the run";
      sure = setTimeout(() => {
        sure = 0;
        cancel.textContent = "Cancel the run";
      }, 5000);
      return;
    }
    clearTimeout(sure);
    sure = 0;
    cancel.textContent = "Cancel the run";
    cancel.disabled = true;
    try {
      const headers = { "content-type": "application/json" };
      const answer = await session.ask(`${path}/cancel`, { method: "POST", headers, body: "{}" });
      if (!answer.ok) announce("The run could not be cancelled.");
    } catch (fault) {
      if (fault.final) failed(fault);
      else announce("The run could not be cancelled: the server cannot be reached.");
    } finally {
      cancel.disabled = false;
    }
  });
}

/** Runs `work`, and where nobody is signed in yet, or any more, asks for a key and runs it again. */
async function signedIn(work) {
  for (;;) {
    try {
      return await work();
    } catch (fault) {
      if (!(fault instanceof SignInNeeded)) throw fault;
      at("connection").textContent = "Not signed in";
      at("connection").dataset.kind = "waiting";
      await askForKey(at("sign-in"), (key) => session.signIn(key));
    }
  }
}

async function begin() {
  offerCancel();
  await import("./renderers.user.js").catch((fault) => console.error("The renderers of this gateway failed", fault));
  try {
    await signedIn(async () => {
      if (!session.opened) await session.open();
      await describe();
      at("said").hidden = false;
      await connection.follow();
      await describe();
    });
  } catch (fault) {
    failed(fault);
  }
}

begin();
