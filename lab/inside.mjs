// One scenario with one client, printed as JSON: what `index.mjs` runs in a network namespace.
import { runScenario } from './scenario.mjs'

const [name, client, settings] = process.argv.slice(2)
console.log(JSON.stringify(await runScenario(name, client, JSON.parse(settings))))
