// The first replay: what is sent again when a reused connection dies, what never is, and what the numbers say.
import assert from 'node:assert/strict'
import http from 'node:http'
import { breaking, breaksSecond, fin, plain, reset } from './support/breaking.mjs'
import { block, serverElsewhere } from './support/elsewhere.mjs'
import { assertStats, outcome, settled } from './support/outcome.mjs'
import { ok, scripted } from './support/servers.mjs'
import { deferred, once, turns, until } from './support/wait.mjs'
import { exchange, to, withinHoldfast } from './support/within.mjs'

const within = withinHoldfast('Node\'s agent replays nothing')

const WAYS = { fin, reset }
const POST = { method: 'POST' }
const KEYED = { method: 'POST', headers: { 'Idempotency-Key': 'k1' } }

for (const way of Object.keys(WAYS)) {
  within(`${way}_while_the_loop_is_blocked_costs_neither_a_failure_nor_a_replay`, serverElsewhere,
    async ({ server, agent }) => {
      for (const options of [{}, POST]) {
        await exchange(server, agent)
        server.endAllWhileBlocked(way)
        const req = http.request(to(server, agent, options)).end()
        const { text, errors } = await outcome(req)
        assert.deepEqual({ text, errors, replays: req.retryCount }, { text: 'x', errors: [], replays: 0 })
        assert.equal(req.reusedSocket, false)
        agent.destroy()
        await settled(agent)
      }
      assert.deepEqual(await server.executed(), ['GET', 'GET', 'GET', 'POST'])
      const reason = way === 'fin' ? 'peerFin' : 'peerReset'
      assertStats(agent.stats(), { opened: 4, replays: {}, refused: {}, closed: { [reason]: 2, destroyed: 2 } })
    })

  within(`${way}_while_a_listener_blocks_its_turn_swaps_the_connections_before_anything_is_sent`, serverElsewhere,
    async ({ server, agent }) => {
      await Promise.all(Array.from({ length: 6 }, () => outcome(http.get(to(server, agent)))))
      const sent = deferred()
      const first = [http.get(to(server, agent)), http.get(to(server, agent))]
      first[0].on('response', (res) => res.on('end', () => {
        server.endAllWhileBlocked(way)
        const requests = [{}, POST, {}, POST].map((options) => http.request(to(server, agent, options)).end())
        sent.resolve(Promise.all(requests.map(async (req) => {
          const { text, errors } = await outcome(req)
          return { text, errors, replays: req.retryCount, reused: req.reusedSocket }
        })))
      }))
      const ends = first.map(outcome)
      await Promise.all(first.map((req) => once(req, 'finish')))
      block(200) // so that both answers are there, and the turn has more than one delivery
      const expected = { text: 'x', errors: [], replays: 0, reused: false }
      assert.deepEqual(await sent.promise, Array.from({ length: 4 }, () => expected))
      await Promise.all(ends)
      assert.equal((await server.executed()).length, 12)
      assertStats(agent.stats(), { replays: {}, refused: {} })
      agent.destroy()
      await settled(agent)
    })

  for (const [moment, pass] of Object.entries({
    in_the_same_tick: (act) => act(),
    in_the_next_tick: (act) => process.nextTick(act),
    in_the_next_turn: (act) => setImmediate(act),
    five_turns_later: (act) => turns(5).then(act),
  })) {
    within(`${way}_after_the_answer_and_a_request_${moment}_costs_no_failure`, plain, async ({ server, agent }) => {
      for (const options of [{}, POST]) {
        await exchange(server, agent)
        const sent = deferred()
        WAYS[way](server.accepted.at(-1))
        pass(() => {
          const req = http.request(to(server, agent, options)).end()
          sent.resolve(outcome(req).then((seen) => ({ ...seen, replays: req.retryCount })))
        })
        const { status, errors, replays } = await sent.promise
        assert.deepEqual({ status, errors, replays }, { status: 200, errors: [], replays: 0 })
        agent.destroy()
        await settled(agent)
      }
      assert.equal(server.executed.length, 4)
    })
  }

  const endsBehindTheAnswer = () => scripted((socket, head, { request }) => {
    if (request > 1) return WAYS[way](socket)
    socket.write(ok('x'), () => WAYS[way](socket))
  })

  within(`${way}_behind_the_answer_costs_the_waiting_get_nothing`, endsBehindTheAnswer, async ({ server, agent }) => {
    const first = http.get(to(server, agent))
    const second = http.get(to(server, agent))
    assert.equal(Object.values(agent.requests)[0].length, 1)
    const [one, two] = await Promise.all([outcome(first), outcome(second)])
    assert.deepEqual([one.errors, two.errors, two.text], [[], [], 'x'])
    assert.equal(server.accepted.length, 2)
    await settled(agent)
  }, { agentOptions: { maxSockets: 1 } })

  within(`get_whose_reused_connection_ends_by_${way}_before_the_answer_is_sent_again_once`, breaksSecond(WAYS[way]),
    async ({ server, agent }) => {
      await exchange(server, agent)
      const req = http.get(to(server, agent))
      const { status, errors } = await outcome(req)
      assert.deepEqual({ status, errors }, { status: 200, errors: [] })
      assert.deepEqual([req.retryCount, req.reusedSocket], [1, false])
      assert.deepEqual(server.executed, ['GET 0 on 1', 'GET 0 on 1', 'GET 0 on 2'])
      const reason = way === 'fin' ? 'peerFin' : 'peerReset'
      assertStats(await settled(agent, { idle: 1 }),
        { opened: 2, replays: 1, refused: {}, closed: { [reason]: 1 } })
    })

  within(`post_whose_reused_connection_ends_by_${way}_before_the_answer_fails_once_with_econnreset`,
    breaksSecond(WAYS[way]), async ({ server, agent }) => {
      await exchange(server, agent)
      const req = http.request(to(server, agent, POST)).end('ab')
      const { status, errors } = await outcome(req)
      assert.deepEqual({ status, errors }, { status: undefined, errors: ['ECONNRESET'] })
      assert.deepEqual([req.retryCount, req.reusedSocket], [0, true])
      assert.deepEqual(server.executed, ['GET 0 on 1', 'POST 2 on 1'])
      const reason = way === 'fin' ? 'peerFin' : 'peerReset'
      assertStats(await settled(agent),
        { opened: 1, replays: {}, refused: 1, closed: { [reason]: 1 } })
    })

  for (const [part, text] of Object.entries({
    half_a_head: 'HTTP/1.1 200 OK\r\nContent-Le',
    a_head: 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n',
    half_a_body: 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!',
  })) {
    const breaksOff = () => scripted((socket, head, { request }) => socket.write(request === 1 ? ok() : text))

    within(`get_broken_by_${way}_after_${part}_is_never_sent_again`, breaksOff, async ({ server, agent }) => {
      const { socket } = await exchange(server, agent)
      const before = socket.bytesRead
      const req = http.get(to(server, agent))
      const ended = outcome(req)
      await until(() => socket.bytesRead === before + text.length)
      WAYS[way](server.accepted[0])
      const { errors, broken } = await ended
      assert.deepEqual([errors[0] ?? broken, errors.length <= 1], ['ECONNRESET', true])
      assert.deepEqual([req.retryCount, server.accepted.length], [0, 1])
      assertStats(await settled(agent), { opened: 1, replays: {} })
    })
  }

  within(`request_on_a_fresh_connection_that_ends_by_${way}_is_never_sent_again`, breaking((socket) => {
    WAYS[way](socket)
    return true
  }), async ({ server, agent }) => {
    for (const options of [{}, KEYED]) {
      const req = http.request(to(server, agent, options)).end()
      const { errors } = await outcome(req)
      assert.deepEqual([errors, req.retryCount, req.reusedSocket], [['ECONNRESET'], 0, false])
    }
    assert.equal(server.executed.length, 2)
    assertStats(await settled(agent), { opened: 2, replays: {}, refused: { freshConnection: 2 } })
  })
}

for (const [key, name] of Object.entries({ key: 'Idempotency-Key', x_key: 'X-Idempotency-Key' })) {
  within(`post_with_an_idempotency_${key}_is_sent_again`, breaksSecond(), async ({ server, agent }) => {
    await exchange(server, agent)
    const req = http.request(to(server, agent, { method: 'POST', headers: { [name]: 'k1' } })).end('abc')
    const { text, errors } = await outcome(req)
    assert.deepEqual([text, errors, req.retryCount], ['abc', [], 1])
    assert.deepEqual(server.executed, ['GET 0 on 1', 'POST 3 on 1', 'POST 3 on 2'])
  })
}

within('server_that_resets_every_request_gets_one_replay_and_no_more', breaking((socket, { connection, number }) => {
  const isFirst = connection === 1 && number === 1
  if (!isFirst) reset(socket)
  return !isFirst
}), async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.get(to(server, agent))
  const { errors } = await outcome(req)
  assert.deepEqual([errors, req.retryCount], [['ECONNRESET'], 1])
  assert.deepEqual(server.executed, ['GET 0 on 1', 'GET 0 on 1', 'GET 0 on 2'])
  assertStats(await settled(agent),
    { opened: 2, replays: 1, refused: { spent: 1 }, closed: { peerReset: 2 } })
})

within('request_of_which_nothing_has_left_goes_out_on_a_fresh_connection_whatever_its_method', plain, async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, POST))
  reset(server.accepted[0])
  const { text, errors } = await outcome(req.end('body'))
  assert.deepEqual([text, errors, req.retryCount, req.reusedSocket], ['body', [], 0, false])
  assert.deepEqual(server.executed, ['GET 0 on 1', 'POST 4 on 2'])
  assertStats(await settled(agent, { idle: 1 }), { replays: {}, refused: {}, closed: { peerReset: 1 } })
})

for (const way of Object.keys(WAYS)) {
  within(`post_begun_after_its_connection_ended_by_${way}_is_sent_on_a_fresh_one`, plain, async ({ server, agent }) => {
    await exchange(server, agent)
    const req = http.request(to(server, agent, POST))
    const replay = once(agent, 'replay')
    WAYS[way](server.accepted[0])
    await replay
    const { text, errors } = await outcome(req.end('late'))
    assert.deepEqual([text, errors, server.executed], ['late', [], ['GET 0 on 1', 'POST 4 on 2']])
  })
}
