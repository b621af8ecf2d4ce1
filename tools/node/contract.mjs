// Checks the contract's files as tools of the Node world see them, and prints what is wrong:
// every schema compiles (ajv, strict), every example is valid or invalid as it says, and
// asyncapi.yaml is an AsyncAPI document without an error. Exit 1 where anything is wrong.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import Ajv from 'ajv/dist/2020.js'
import { Parser, fromFile } from '@asyncapi/parser'

const config = path.resolve(process.argv[2] ?? fileURLToPath(new URL('../../config', import.meta.url)))
const read = (...names) => JSON.parse(fs.readFileSync(path.join(config, 'schemas', ...names)))
const wrong = []
let examples = 0

for (const file of fs.readdirSync(path.join(config, 'schemas')).filter((n) => n.endsWith('.json'))) {
  const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(read(file))
  for (const kind of ['valid', 'invalid']) {
    const folder = path.join('examples', path.parse(file).name, kind)
    for (const name of fs.readdirSync(path.join(config, 'schemas', folder))) {
      examples += 1
      if (validate(read(folder, name)) !== (kind === 'valid')) wrong.push(`${file}: not ${kind}: ${name}`)
    }
  }
}

const { document, diagnostics } = await fromFile(new Parser(), path.join(config, 'asyncapi.yaml')).parse()
for (const found of diagnostics.filter((each) => each.severity === 0)) {
  wrong.push(`asyncapi.yaml: ${found.path.join('.')}: ${found.message}`)
}
const messages = document?.allMessages().all().length ?? 0

console.log(wrong.length ? wrong.join('\n') : `${examples} examples and ${messages} messages as they should be`)
process.exitCode = wrong.length ? 1 : 0
