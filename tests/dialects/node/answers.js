// Answers about the proxy that undici's EnvHttpProxyAgent uses, as `src/program.rs` asks.
//
// Each request is sent, and its connection is noted in place of being opened.
'use strict'

const net = require('node:net')
const tls = require('node:tls')

let connections = []

function note(scheme) {
  return (options) => {
    // An address may be given as the answer to a look-up.
    let host = options.host
    options.lookup?.(host, {}, (_, address) => { host = address })
    connections.push({ scheme, host, port: Number(options.port) })
    const socket = new net.Socket()
    process.nextTick(() => socket.destroy(new Error('noted')))
    return socket
  }
}
net.connect = note('http')
tls.connect = note('https')

const undici = require('undici')

const ESCAPES = { '\\': '\\', t: '\t', n: '\n', r: '\r' }
const unescaped = (text) => text.replace(/\\(.)/g, (_, letter) => ESCAPES[letter])

function setEnvironment(variables) {
  for (const name of Object.keys(process.env)) delete process.env[name]
  for (const variable of variables) {
    const end = variable.indexOf('=')
    process.env[variable.slice(0, end)] = variable.slice(end + 1)
  }
}

async function connect(url, dispatcher) {
  if (url.startsWith('ws')) {
    const socket = new undici.WebSocket(url, { dispatcher })
    await new Promise((resolve) => {
      socket.onerror = resolve
      socket.onclose = resolve
    })
  } else {
    await undici.request(url, { dispatcher })
  }
}

async function answer(url) {
  connections = []
  let agent
  try {
    agent = new undici.EnvHttpProxyAgent()
    await connect(url, agent)
  } catch {
    // The connection was noted, or there was none.
  }
  await agent?.destroy()
  if (connections.length === 0) return 'error'
  const { scheme, host, port } = connections[0]
  const names = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY']
  const values = names.map((name) => process.env[name]).filter((value) => URL.canParse(value))
  const isProxy = values.some((value) => new URL(value).hostname.replace(/^\[|\]$/g, '') === host)
  return isProxy ? `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}` : 'direct'
}

async function main() {
  const { version } = require('undici/package.json')
  process.stdout.write(`undici ${version} on Node ${process.versions.node}\n`)
  let rest = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const [url, ...variables] = line.split('\t').map(unescaped)
      setEnvironment(variables)
      process.stdout.write(`${await answer(url)}\n`)
    }
  }
}

main()
