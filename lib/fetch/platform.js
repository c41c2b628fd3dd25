'use strict'
// The platform's own fetch, as it is when holdfast is loaded: a program may put holdfast's in its place.
module.exports = globalThis.fetch
