// A worker in Node, for three types of activity. It ends when the broker goes away: supervise it.
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import amqp from 'amqplib'
const { AMQP_URL = 'amqp://localhost', QUEUE = 'worker.node' } = process.env
const activities = {
  'Text.echo.1.0': ({ input }) => input ?? '',
  'Order.check.1.0': ({ input }) => {
    const { order, amount } = JSON.parse(input)
    if (amount > 0) return { order, accepted: true }
    throw { status: 'failed', reason: 'amount must be positive', details: { order, amount } }
  },
  'Video.encode.2.0': async ({ input }, beat) => {
    for (let step = 0; step < JSON.parse(input).steps; step++) {
      if (step % 5 === 0) await beat(`step ${step}`) // once a second
      await sleep(200) // the work
    }
    return 'encoded'
  },
}
const connection = await amqp.connect(AMQP_URL, { noDelay: true }) // else an acknowledgement waits 20 ms for nothing
const channel = await connection.createConfirmChannel()
await channel.assertExchange('swf.activities', 'topic')
await channel.assertQueue(QUEUE) // durable, by default
for (const type in activities) await channel.bindQueue(QUEUE, 'swf.activities', type)
await channel.prefetch(1) // one task at a time; start several workers for more
const answered = new Set(), answers = new EventEmitter() // tasks; heartbeats' answers: by message_id
await channel.consume('amq.rabbitmq.reply-to', ({ properties, content }) =>
  answers.emit(properties.correlationId, JSON.parse(content)), { noAck: true })

async function perform ({ content, fields, properties: { messageId: id, replyTo, headers } }) {
  const { taskToken, activityType: { name, version }, ...task } = JSON.parse(content)
  const reply = (body, options) => {
    channel.sendToQueue(replyTo, Buffer.from(JSON.stringify({ taskToken, ...body })), { persistent: true, ...options })
    return channel.waitForConfirms().catch(() => process.exit(1)) // refused or lost: the task comes again
  }
  const beat = async (details) => {
    const heard = once(answers, id, { signal: AbortSignal.timeout(30_000) })
    await reply({ status: 'heartbeat', details }, { replyTo: 'amq.rabbitmq.reply-to', correlationId: id })
    const [answer] = await heard.catch(() => [{ open: true }]) // the bridge is away: go on
    if (!answer.open) throw null // timed out or terminated: nobody waits for a reply
    if (answer.cancelRequested) throw { status: 'canceled', details }
  }
  try {
    if (answered.has(id)) return // delivered twice
    if (fields.redelivered) await beat('again') // another worker may have answered
    else if (headers['swf-deadline'] < Date.now()) return // SWF has given it up
    await reply({ status: 'completed', result: await activities[`${name}.${version}`](task, beat) })
  } catch (no) {
    if (no) await reply(no.status ? no : { status: 'failed', reason: String(no) })
  }
  answered.add(id)
}
let inHand
const { consumerTag } = await channel.consume(QUEUE, (message) => {
  inHand = perform(message).then(() => channel.ack(message)) // after the reply: a worker that dies leaves its task
})
// Finish what is in hand; what else was delivered goes back to the queue when the connection ends.
process.once('SIGTERM', () => channel.cancel(consumerTag).then(() => inHand).then(() => connection.close()))
