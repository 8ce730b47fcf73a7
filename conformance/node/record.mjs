// What both drivers share: the console captured, scenarios read and results printed (JSON, one a line), gates opened.

import { createInterface } from 'node:readline'

const warnings = []
for (const level of ['warn', 'error', 'log', 'info', 'debug']) {
  console[level] = (...said) => warnings.push(level + ': ' + said.map((one) => (one?.stack ?? String(one))).join(' ').slice(0, 600))
}

/** Plays one scenario after another: `play(scenario)` gives what is reported, after its ops have been done. */
export async function serve(play) {
  for await (const line of createInterface({ input: process.stdin })) {
    warnings.length = 0
    const result = await play(JSON.parse(line))
    process.stdout.write(JSON.stringify({ ...result, warnings }) + '\n')
  }
  process.exit(0)
}

/** Does the ops in order; returns what stopped them, null if nothing did. */
export async function perform(ops, steps, clients) {
  try {
    for (const op of steps) await ops[op.op](op)
    return null
  } catch (error) {
    return told(error)
  } finally {
    for (const { it } of Object.values(clients)) await it?.detachActiveRun()
  }
}

/** `act`, waited for unless the op is done in the background. */
export const perhaps = (clients, act) => (op) => {
  const running = act(op)
  if (!op.background) return running
  clients[op.as].running = running
}

/** Any POST; its status and text are reported. */
export async function post(base, { path, body, query = '' }) {
  const answer = await fetch(base + path + query, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body),
  })
  return { status: answer.status, text: (await answer.text()).slice(0, 100000) }
}

let released = 0

/** Runs the agent `release`, which opens the gate of that name for the agents under test. */
export async function release(base, gate) {
  const id = `${gate}-release-${released++}`
  const answer = await fetch(`${base}/agui/release`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ threadId: id, runId: id, messages: [{ id: `${id}-m`, role: 'user', content: gate }],
      state: {}, tools: [], context: [], forwardedProps: {} }),
  })
  if (!(await answer.text()).includes('RUN_FINISHED')) throw new Error(`the gate ${gate} was not opened`)
}

/** A place where one part of a scenario waits for what another has seen. */
export class Seen {
  constructor() { this.events = []; this.waiting = [] }
  add(event) {
    this.events.push(event)
    this.waiting = this.waiting.filter(([test, done]) => !(test(this.events) && (done(), true)))
  }
  until(test, what, ms = 15000) {
    if (test(this.events)) return Promise.resolve()
    return new Promise((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`waited ${ms} ms for ${what}; seen: ${this.events.map((e) => e.type)}`)), ms)
      this.waiting.push([test, () => { clearTimeout(timer); done() }])
    })
  }
}

/** `until` of an op: {type, name?, count?} has been seen. */
export function matches(want) {
  return (events) => events.filter((event) => event.type === want.type && (!want.name || event.name === want.name)).length >= (want.count ?? 1)
}

export const plain = (value) => (value === undefined ? null : JSON.parse(JSON.stringify(value)))

export function told(error) {
  return error && { message: String(error.message ?? error), status: error.status ?? null, name: error.name ?? null }
}
