// Keys that change within a connection (TLS 1.3): while an answer comes, and while it is idle.
import assert from 'node:assert/strict'
import https from 'node:https'
import { promptedServer } from './support/tls/prompted.mjs'
import { root, withinSecured } from './support/tls/within.mjs'
import { collect, once } from './support/wait.mjs'
import { to } from './support/within.mjs'

const identity = root.issue()
const HEAD = 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n'

// The server sends its new keys, asks for the client's, and prints both.
const changeKeys = async (server) => {
  server.say('K\n')
  await server.heard(/>>>.*KeyUpdate/)
}

const ask = (server, agent) => https.get(to(server, agent, { protocol: 'https:' }))

withinSecured('tls_keys_change_within_an_answer_and_while_idle', () => promptedServer(identity), async ({ server, agent }) => {
  const first = ask(server, agent)
  await server.heard(/GET \/ HTTP/)
  server.say(`${HEAD}hello`)
  const [res] = await once(first, 'response')
  assert.equal(String((await once(res, 'data'))[0]), 'hello')
  await changeKeys(server)
  server.say('world')
  assert.equal(String(await collect(res)), 'world')
  await changeKeys(server)
  // What the client says next comes after its own new keys.
  const second = ask(server, agent)
  await server.heard(/<<<.*KeyUpdate/)
  await server.heard(/GET \/ HTTP/)
  server.say(`${HEAD}helloworld`)
  const [again] = await once(second, 'response')
  assert.equal(String(await collect(again)), 'helloworld')
  assert.deepEqual([first.reusedSocket, second.reusedSocket], [false, true])
  const { opened, replays } = agent.stats()
  assert.deepEqual([opened, { ...replays }], [1, {}])
})
