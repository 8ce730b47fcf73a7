// Drives HttpAgent of @ag-ui/client as a page would, one scenario a line: {client: 'agui-1' | 'agui-0', base, ops: [...]}.
//
//   agent    makes a client: {as, agent, threadId, messages?, state?, query?, path?}; with {get: true} of a stream that
//            is read by GET, as an app's own subclass of HttpAgent does
//   run      runAgent: {as, input: {runId, forwardedProps, resume}, say?}, waits for its end unless {background: true}
//   seen     waits until a client has seen an event: {as, type, name?, count?}
//   leave    closes a client's connection as a page that is left does: {as}
//   release  opens a gate: {gate}
//   done     waits for a client's background run: {as}
//   post     any HTTP request: {path, body, query?}; its status and text are reported

import { Seen, matches, perform, perhaps, plain, post, release, serve, told } from './record.mjs'

async function play(scenario) {
  const { HttpAgent } = await import(scenario.client)
  const clients = {}
  const answers = []

  async function run({ as, input = {}, say }) {
    const { it, runs, seen } = clients[as]
    if (say) it.addMessage({ id: say.id, role: 'user', content: say.content })
    const record = { error: null, failed: null, runErrors: [], types: [], ended: null, custom: [] }
    runs.push(record)
    try {
      await it.runAgent(input, {
        onEvent: ({ event }) => { record.types.push(event.type); seen.add(event) },
        onCustomEvent: ({ event }) => { record.custom.push(event.name) },
        onRunFinishedEvent: (end) => { record.ended = plain({ outcome: end.outcome, result: end.result }) },
        onRunErrorEvent: ({ event }) => { record.runErrors.push({ message: event.message, code: event.code ?? null }) },
        onRunFailed: ({ error }) => { record.failed = told(error) },
      })
    } catch (error) {
      record.error = told(error)
    }
  }

  const ops = {
    agent: ({ as, agent, path, threadId, messages = [], state = {}, query = '', get }) => {
      const url = `${scenario.base}${path ?? `/agui/${encodeURIComponent(agent)}`}${query}`
      const it = new HttpAgent({ url, threadId, initialMessages: messages, initialState: state })
      if (get) it.requestInit = () => ({ method: 'GET', headers: { ...it.headers, Accept: 'text/event-stream' } })
      clients[as] = { it, seen: new Seen(), runs: [], running: null }
    },
    run: perhaps(clients, run),
    seen: (op) => clients[op.as].seen.until(matches(op), JSON.stringify(op)),
    leave: async ({ as }) => { await clients[as].it.detachActiveRun(); await clients[as].running },
    release: ({ gate }) => release(scenario.base, gate),
    done: ({ as }) => clients[as].running,
    post: async (op) => { answers.push(await post(scenario.base, op)) },
  }
  const fault = await perform(ops, scenario.ops, clients)
  const result = {}
  for (const [name, { it, runs }] of Object.entries(clients)) {
    result[name] = { messages: plain(it.messages), state: plain(it.state), pending: plain(it.pendingInterrupts ?? []), runs }
  }
  return { clients: result, answers, fault }
}

await serve(play)
