// Drives @copilotkit/core with neither a browser nor a Node runtime, one scenario a line: {base, transport, path?, ops: [...]}.
//
//   core     makes a CopilotKitCore: {as, agent, threadId, headers?, transport?}
//   connect  core.connectAgent, waits for its end unless {background: true}: {as}
//   run      core.runAgent after an own message: {as, say?, runId?, resume?, forwardedProps?}, likewise
//   stop     core.stopAgent: {as}
//   seen, release, done, post, leave   as in agui.mjs

import { Seen, matches, perform, perhaps, plain, post, release, serve, told } from './record.mjs'

globalThis.window = { location: { origin: 'http://127.0.0.1', href: 'http://127.0.0.1/' }, addEventListener() {}, removeEventListener() {} }
const { CopilotKitCore } = await import('@copilotkit/core')

let requests = []
const send = globalThis.fetch
globalThis.fetch = async (url, init) => {
  const asked = { url: String(url), method: init?.method ?? 'GET', headers: Object.fromEntries(new Headers(init?.headers)), status: null }
  asked.body = typeof init?.body === 'string' ? init.body.slice(0, 400) : null
  requests.push(asked)
  const answer = await send(url, init)
  asked.status = answer.status
  return answer
}

async function within(test, what, ms = 10000) {
  const end = Date.now() + ms
  while (!test()) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`)
    await new Promise((done) => setTimeout(done, 10))
  }
}

async function play(scenario) {
  const clients = {}
  const answers = []
  requests = []

  async function make({ as, agent, threadId, headers = {}, transport = scenario.transport ?? 'rest' }) {
    const core = new CopilotKitCore({ headers })
    const client = { core, seen: new Seen(), errors: [], running: null }
    core.subscribe({ onError: ({ code, error }) => { client.errors.push({ code, ...told(error) }) } })
    core.setRuntimeTransport(transport)
    core.setRuntimeUrl(scenario.base + (scenario.path ?? '/copilotkit'))
    clients[as] = client
    await within(() => core.getAgent(agent) || client.errors.length, `agent ${agent} in the info`)
    client.info = { status: core.runtimeConnectionStatus ?? null, version: core.runtimeVersion ?? null, agents: Object.keys(core.agents) }
    client.it = core.getAgent(agent)
    client.it.threadId = threadId
    client.it.subscribe({ onEvent: ({ event }) => { client.seen.add(event) } })
  }

  async function run({ as, say, runId, resume, forwardedProps }) {
    const { core, it } = clients[as]
    if (say) it.addMessage({ id: say.id, role: 'user', content: say.content })
    await core.runAgent({ agent: it, runId, resume, forwardedProps })
  }

  const ops = {
    core: make,
    connect: perhaps(clients, ({ as }) => clients[as].core.connectAgent({ agent: clients[as].it })),
    run: perhaps(clients, run),
    stop: ({ as }) => { clients[as].core.stopAgent({ agent: clients[as].it }) },
    seen: (op) => clients[op.as].seen.until(matches(op), JSON.stringify(op)),
    leave: async ({ as }) => { await clients[as].it.detachActiveRun(); await clients[as].running },
    release: ({ gate }) => release(scenario.base, gate),
    done: ({ as }) => clients[as].running,
    post: async (op) => { answers.push(await post(scenario.base, op)) },
  }
  const fault = await perform(ops, scenario.ops, clients)
  const result = {}
  for (const [name, { it, seen, errors, info }] of Object.entries(clients)) {
    result[name] = {
      messages: plain(it?.messages), state: plain(it?.state), pending: plain(it?.pendingInterrupts ?? []), running: it?.isRunning ?? null,
      types: seen.events.map((event) => event.type), ends: plain(seen.events.filter((event) => /^RUN_(FINISHED|ERROR)$/.test(event.type))),
      errors, info: info ?? null,
    }
  }
  return { clients: result, answers, requests, fault }
}

await serve(play)
