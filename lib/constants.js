'use strict'
// agentkeepalive's symbols, under which its users find marks on agents and sockets.
const named = (name) => Symbol(`agentkeepalive#${name}`)

module.exports = {
  CURRENT_ID: named('currentId'),
  CREATE_ID: named('createId'),
  INIT_SOCKET: named('initSocket'),
  CREATE_HTTPS_CONNECTION: named('createHttpsConnection'),
  SOCKET_CREATED_TIME: named('socketCreatedTime'),
  SOCKET_NAME: named('socketName'),
  SOCKET_REQUEST_COUNT: named('socketRequestCount'),
  SOCKET_REQUEST_FINISHED_COUNT: named('socketRequestFinishedCount')
}
