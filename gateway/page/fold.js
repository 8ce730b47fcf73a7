/**
 * What a person is shown of a run, folded from its entries: `fold(view, seq, event)` grows the view in place.
 *
 * An item is one thing that was said or done. Its `rev` counts its changes, so that only what changed is drawn again.
 * The same entries always give the same view, which is what makes the past replayable.
 */
import { patched } from "./patch.js";

export function beginning() {
  return {
    seq: 0,
    status: "queued",
    agent: null,
    items: [],
    index: new Map(),
    results: new Map(),
    state: undefined,
    guessed: true,
    stateAtLeg: undefined,
    marks: [],
    gates: [],
    decision: null,
    attempt: 1,
    error: null,
    chunk: null,
    at: null,
  };
}

export function ended(view) {
  return view.status === "completed" || view.status === "failed" || view.status === "cancelled";
}

export function fold(view, seq, event) {
  view.seq = seq;
  if (typeof event.timestamp === "number") view.at = event.timestamp;
  if (!event.type?.endsWith("_CHUNK")) view.chunk = null;
  CASES[event.type]?.(view, event);
  return view;
}

const CASES = {
  "ask.start": (view, event) => {
    view.agent = event.agent ?? null;
    mark(view, "asked", event);
  },
  "ask.resume": (view, event) => {
    decide(view, event);
    if (!view.gates.length) goOn(view);
    mark(view, "answered", { ...event, answers: event.answers ?? [] });
  },
  "ask.cancel": (view, event) => {
    decide(view, event, view.gates);
    view.status = "cancelled";
    mark(view, "cancel", event);
  },
  "ask.expire": (view, event) => {
    const over = event.outcome === "cancel" || event.outcome === "fail";
    decide(view, event, over ? view.gates : undefined);
    if (over) view.status = event.outcome === "fail" ? "failed" : "cancelled";
    else if (!view.gates.length) goOn(view);
    mark(view, "expired", event);
  },
  RUN_STARTED: (view, event) => {
    if (ended(view)) return; // the end of a run that was cancelled needs a leg to stand in
    view.status = "running";
    // what came with an answer is said at the beginning of the leg that it opens
    for (const [key, made] of (event.input?.messages ?? []).flatMap(items)) if (!view.index.has(key)) add(view, key, made);
    mark(view, view.marks.some((one) => one.what === "started") ? "went-on" : "started", event);
  },
  RUN_FINISHED: (view, event) => {
    const outcome = event.outcome?.type;
    if (outcome === "interrupt") {
      view.status = "waiting";
      view.gates = event.outcome.interrupts ?? [];
      mark(view, "waits", { ...event, gates: view.gates });
    } else {
      view.status = outcome === "cancelled" ? "cancelled" : "completed";
      view.gates = [];
      mark(view, view.status, event);
    }
  },
  RUN_ERROR: (view, event) => {
    view.status = "failed";
    view.gates = [];
    view.error = { message: event.message, code: event.code };
    mark(view, "failed", event);
  },
  STEP_STARTED: (view, event) => mark(view, "step", { ...event, open: true }),
  STEP_FINISHED: (view, event) => {
    const step = view.marks.findLast((one) => one.what === "step" && one.name === event.stepName && one.open);
    if (!step) return;
    step.open = false;
    step.ended = event.timestamp ?? null;
    step.rev += 1;
  },
  SUBAGENT_STARTED: (view, event) => mark(view, "subagent", event),
  SUBAGENT_ERROR: (view, event) => mark(view, "subagent-failed", event),
  CUSTOM: (view, event) => {
    if (event.name === "hocket.attempt") abandon(view, event);
    else if (event.name === "hocket.handed_back") mark(view, "handed-back", event);
    else add(view, `c:${view.seq}`, { kind: "custom", name: event.name, text: "", value: event.value });
  },
  TEXT_MESSAGE_START: (view, event) => opened(view, event, "text", event.role ?? "assistant"),
  TEXT_MESSAGE_CONTENT: (view, event) => extend(view, `m:${event.messageId}`, event.delta),
  TEXT_MESSAGE_END: (view, event) => close(view, `m:${event.messageId}`, event),
  TEXT_MESSAGE_CHUNK: (view, event) => chunk(view, event, "text", event.role ?? "assistant"),
  REASONING_MESSAGE_START: (view, event) => opened(view, event, "reasoning", "reasoning"),
  REASONING_MESSAGE_CONTENT: (view, event) => extend(view, `m:${event.messageId}`, event.delta),
  REASONING_MESSAGE_END: (view, event) => close(view, `m:${event.messageId}`, event),
  REASONING_MESSAGE_CHUNK: (view, event) => chunk(view, event, "reasoning", "reasoning"),
  TOOL_CALL_START: (view, event) => {
    const item = add(view, `t:${event.toolCallId}`, { kind: "tool", text: "", results: [] });
    item.holder ??= event.parentMessageId ?? event.toolCallId;
    change(item, { name: event.toolCallName, open: true });
    if (view.results.has(event.toolCallId)) answer(view, event.toolCallId);
  },
  TOOL_CALL_ARGS: (view, event) => extend(view, `t:${event.toolCallId}`, event.delta),
  TOOL_CALL_END: (view, event) => close(view, `t:${event.toolCallId}`, event),
  TOOL_CALL_CHUNK: (view, event) => {
    const id = event.toolCallId ?? view.chunk;
    if (!id) return;
    view.chunk = id;
    const item = add(view, `t:${id}`, { kind: "tool", text: "", results: [] });
    change(item, { name: event.toolCallName ?? item.name, text: item.text + (event.delta ?? "") });
  },
  TOOL_CALL_RESULT: (view, event) => result(view, event.toolCallId, event.content),
  ACTIVITY_SNAPSHOT: (view, event) => {
    const key = `m:${event.messageId}`;
    if (event.replace === false && view.index.has(key)) return;
    change(add(view, key, { kind: "activity" }), { name: event.activityType, value: event.content, text: "" });
  },
  ACTIVITY_DELTA: (view, event) => {
    const item = view.index.get(`m:${event.messageId}`);
    if (item) quietly(() => change(item, { value: patched(item.value, event.patch) }));
  },
  STATE_SNAPSHOT: (view, event) => void Object.assign(view, { state: event.snapshot, guessed: false }),
  STATE_DELTA: (view, event) => quietly(() => (view.state = patched(view.state ?? {}, event.delta))),
  MESSAGES_SNAPSHOT: (view, event) => snapshot(view, event.messages),
};

/** A delta that does not fit changes nothing; the run goes on with what it had. */
function quietly(work) {
  try {
    work();
  } catch {
    return;
  }
}

/** Closes the questions that were answered, or all of them, and keeps who did it. */
function decide(view, event, closed) {
  const answered = new Set((closed ?? event.answers ?? []).map((one) => one.interruptId ?? one.id));
  view.gates = view.gates.filter((gate) => !answered.has(gate.id));
  view.decision = { by: event.by ?? null, face: event.face ?? null, at: event.timestamp ?? null, what: event.type };
  view.decision.statuses = [...new Set((event.answers ?? []).map((one) => one.status))];
}

function goOn(view) {
  view.status = "running";
  view.stateAtLeg = view.state;
}

function mark(view, what, event) {
  const { by, face, timestamp, reason, answers, gates, open } = event;
  const name = event.stepName ?? event.name;
  const detail = event.message ?? reason ?? null;
  const made = { seq: view.seq, at: timestamp ?? view.at, what, by, face, name, detail, answers, gates, open, rev: 0 };
  view.marks.push(made);
}

function add(view, key, made) {
  const held = view.index.get(key);
  if (held) return held;
  const item = { key, rev: 0, open: false, abandoned: false, seq: view.seq, at: view.at, ...made };
  view.index.set(key, item);
  view.items.push(item);
  return item;
}

function change(item, changes) {
  Object.assign(item, changes);
  item.rev += 1;
}

function opened(view, event, kind, role) {
  if (event.metadata?.hocket?.abandoned) return giveUp(view, [event.messageId]); // said only to mark it as given up
  change(add(view, `m:${event.messageId}`, { kind, role, name: event.name, text: "" }), { open: true });
}

function extend(view, key, delta) {
  const item = view.index.get(key);
  if (!item || item.kind === "activity") return;
  change(item, { text: (item.parts ? "" : item.text) + delta, parts: false }); // text takes the place of parts
}

function close(view, key, event) {
  const item = view.index.get(key);
  if (item) change(item, { open: false, abandoned: item.abandoned || Boolean(event.metadata?.hocket?.abandoned) });
}

function chunk(view, event, kind, role) {
  const id = event.messageId ?? view.chunk;
  if (!id) return;
  view.chunk = id;
  const item = add(view, `m:${id}`, { kind, role, text: "" });
  change(item, { text: item.text + (event.delta ?? "") });
}

/** Keeps a result for its call, which may not have been heard of yet. */
function result(view, callId, content) {
  view.results.set(callId, [...(view.results.get(callId) ?? []), spoken(content)]);
  answer(view, callId);
}

function answer(view, callId) {
  const [item, results] = [view.index.get(`t:${callId}`), view.results.get(callId) ?? []];
  if (item) change(item, { open: item.open && !results.length, results });
}

function abandon(view, event) {
  view.attempt = event.value?.attempt ?? view.attempt + 1;
  giveUp(view, event.value?.abandoned ?? []);
  view.state = view.stateAtLeg;
  mark(view, "attempt", { ...event, name: String(view.attempt), reason: event.value?.reason });
}

/** Marks messages, and the calls that they hold, as what a worker said that was lost. */
function giveUp(view, ids) {
  const given = new Set(ids);
  for (const item of view.items) {
    const holder = item.kind === "tool" ? item.holder : item.key.slice(2);
    if (given.has(holder) && !item.abandoned) change(item, { abandoned: true, open: false });
  }
}

/** A snapshot says anew what was said: it replaces by id, adds, and drops what it leaves out. */
function snapshot(view, messages) {
  const told = messages.flatMap(items);
  const keys = new Set(told.map(([key]) => key));
  const reasons = messages.some((message) => message.role === "reasoning");
  const acts = messages.some((message) => message.role === "activity");
  const stays = (item) =>
    keys.has(item.key) ||
    item.kind === "custom" ||
    (item.kind === "reasoning" && !reasons) ||
    (item.kind === "activity" && !acts);
  for (const item of view.items) if (!stays(item)) view.index.delete(item.key);
  view.items = view.items.filter(stays);
  for (const [key, made] of told) change(add(view, key, made), made);
  view.results = new Map();
  for (const message of messages) if (message.role === "tool") result(view, message.toolCallId, message.content);
}

/** The items that a message of a snapshot stands for, as [key, item]. */
function items(message) {
  if (message.role === "tool") return [];
  if (message.role === "activity") {
    return [[`m:${message.id}`, { kind: "activity", name: message.activityType, value: message.content, text: "" }]];
  }
  const kind = message.role === "reasoning" ? "reasoning" : "text";
  const abandoned = Boolean(message.metadata?.hocket?.abandoned);
  const text = spoken(message.content);
  const made = { kind, role: message.role, text, parts: Array.isArray(message.content), abandoned };
  const held = { results: [], holder: message.id, abandoned };
  const calls = (message.toolCalls ?? []).map((call) => [
    `t:${call.id}`,
    { kind: "tool", name: call.function?.name, text: call.function?.arguments ?? "", ...held },
  ]);
  const itself = text || !calls.length ? [[`m:${message.id}`, made]] : [];
  return [...itself, ...calls];
}

/** The text of a message's content; parts that are no text are named. */
export function spoken(content) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return content === undefined || content === null ? "" : JSON.stringify(content);
  return content.map((part) => part?.text ?? `[${part?.type ?? "part"}]`).join(" ");
}
