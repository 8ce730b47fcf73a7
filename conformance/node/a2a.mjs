// Drives the client of @a2a-js/sdk, one scenario a line: {binding: 'JSONRPC' | 'HTTP+JSON', base, ops: [...]}. What is
// sent and told is ProtoJSON; a client's `task` is the latest task it was told of, and ops are about that one.
//
//   client     makes a client from an agent's card: {as, agent}
//   send       sendMessage: {as, params, follow?}; `follow` sends it to the client's task
//   stream     sendMessageStream, to its end, or {leave: N} after so many updates: {as, params, follow?, release?}
//   subscribe  resubscribeTask, likewise: {as, release?, headers?}; `release` opens a gate after the first update
//   get, list, cancel, card    {as, params?}
//   release    opens a gate: {gate}
//
// `headers` of send, stream and subscribe go with the call; the id of the last update with the cursor extension is
// sent as Last-Event-ID where `{cursor: true}` is asked for.

import { AgentCard, CancelTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, Message, SendMessageRequest,
  StreamResponse, SubscribeToTaskRequest, Task } from '@a2a-js/sdk'
import { ClientFactory, ClientFactoryOptions } from '@a2a-js/sdk/client'

import { perform, plain, release, serve, told } from './record.mjs'

const CURSOR = 'urn:hocket:a2a:cursor:1'

async function play(scenario) {
  const clients = {}

  async function client({ as, agent }) {
    const options = ClientFactoryOptions.createFrom(ClientFactoryOptions.default, { preferredTransports: [scenario.binding] })
    // it resolves the card's path as a browser does a link: only a base that ends with a slash is kept whole
    const it = await new ClientFactory(options).createFromUrl(`${scenario.base}/a2a/${encodeURIComponent(agent)}/`, '.well-known/agent-card.json')
    if (it.transport.protocolName !== scenario.binding) throw new Error(`the client chose ${it.transport.protocolName}`)
    clients[as] = { a2a: it, task: null, seq: 0, results: [], refused: [] }
  }

  const request = (kept, op) => {
    const params = structuredClone(op.params ?? {})
    if (op.follow) params.message.taskId = kept.task
    return SendMessageRequest.fromJSON(params)
  }

  async function streamed(kept, op, open) {
    const headers = { ...(op.headers ?? {}), ...(op.cursor ? { 'Last-Event-ID': String(kept.seq) } : {}) }
    const updates = []
    kept.results.push(updates)
    for await (const update of open({ serviceParameters: headers })) {
      const said = StreamResponse.toJSON(update)
      const [body] = Object.values(said)
      updates.push(said)
      kept.task = said.task?.id ?? kept.task
      kept.seq = body.metadata?.[CURSOR]?.seq ?? kept.seq
      if (updates.length === 1 && op.release) await release(scenario.base, op.release)
      if (updates.length === op.leave) break
    }
  }

  const one = (act) => async (op) => {
    const kept = clients[op.as]
    try {
      await act(kept, op)
    } catch (error) {
      if (!op.refused) throw error
      kept.refused.push({ ...told(error), kind: error.constructor?.name ?? null })
      return
    }
    if (op.refused) throw new Error(`${op.op} was not refused`)
  }

  const ops = {
    client,
    release: ({ gate }) => release(scenario.base, gate),
    send: one(async (kept, op) => {
      const result = await kept.a2a.sendMessage(request(kept, op), { serviceParameters: op.headers ?? {} })
      const task = 'status' in result
      kept.results.push(task ? { task: Task.toJSON(result) } : { message: Message.toJSON(result) })
      if (task) kept.task = result.id
    }),
    stream: one((kept, op) => streamed(kept, op, (options) => kept.a2a.sendMessageStream(request(kept, op), options))),
    subscribe: one((kept, op) => streamed(kept, op, (options) =>
      kept.a2a.resubscribeTask(SubscribeToTaskRequest.fromJSON({ id: kept.task }), options))),
    get: one(async (kept, op) => {
      kept.results.push(Task.toJSON(await kept.a2a.getTask(GetTaskRequest.fromJSON({ id: kept.task, ...op.params }))))
    }),
    list: one(async (kept, op) => {
      kept.results.push(ListTasksResponse.toJSON(await kept.a2a.listTasks(ListTasksRequest.fromJSON(op.params ?? {}))))
    }),
    cancel: one(async (kept) => {
      kept.results.push(Task.toJSON(await kept.a2a.cancelTask(CancelTaskRequest.fromJSON({ id: kept.task }))))
    }),
    card: one(async (kept) => { kept.results.push(AgentCard.toJSON(await kept.a2a.getAgentCard())) }),
  }
  const fault = await perform(ops, scenario.ops, {})
  const result = {}
  for (const [name, { task, results, refused }] of Object.entries(clients)) result[name] = plain({ task, results, refused })
  return { clients: result, fault }
}

await serve(play)
