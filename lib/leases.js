'use strict'
// What a checkout is answered by, as src/node/environment.rs puts it into one number.

/** From here on, waiters; below its negative, shares of connections (HTTP/2); between, -1 and less are new connections. */
const WAITERS = 2 ** 32

const isStream = (lease) => lease <= -WAITERS

/** The number of a lease's place. */
const placeNumber = (lease) => lease >= 0 ? lease : -1 - lease - (isStream(lease) ? WAITERS : 0)

module.exports = { isStream, placeNumber, WAITERS }
