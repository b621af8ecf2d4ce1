# A worker in Ruby, for three types of activity. It ends when the broker goes away: supervise it.
require 'bunny'
require 'json'
require 'timeout'

Closed, Canceled = Array.new(2) { Class.new(StandardError) }
ACTIVITIES = {
  'Text.echo.1.0' => ->(input, _) { input.to_s },
  'Order.check.1.0' => lambda do |input, _|
    order, amount = JSON.parse(input).values_at('order', 'amount')
    amount.positive? ? { order: order, accepted: true } : raise('amount must be positive')
  end,
  'Video.encode.2.0' => lambda do |input, beat|
    JSON.parse(input)['steps'].times do |step|
      beat.call("step #{step}") if (step % 5).zero? # once a second
      sleep 0.2 # the work
    end
    'encoded'
  end
}.freeze

tasks, replies = Array.new(2, Bunny.new(ENV.fetch('AMQP_URL', 'amqp://localhost')).start).map(&:create_channel)
replies.confirm_select
tasks.prefetch(1) # one task at a time; start several workers for more
queue = tasks.queue(ENV.fetch('QUEUE', 'worker.ruby'), durable: true)
exchange = tasks.topic('swf.activities', durable: true)
ACTIVITIES.each_key { |type| queue.bind(exchange, routing_key: type) }
inbox, answers, answered = Queue.new, Queue.new, {}
replies.basic_consume('amq.rabbitmq.reply-to', 'answers', true) { |*, body| answers << JSON.parse(body) }
consumer = queue.subscribe(manual_ack: true) { |*delivery| inbox << delivery }
trap('TERM') { Thread.new { consumer.cancel; inbox.close } } # what is in hand is finished

while (info, properties, body = inbox.pop)
  task = JSON.parse(body)
  reply = lambda do |fields|
    options = { routing_key: properties.reply_to, persistent: true, reply_to: 'amq.rabbitmq.reply-to' }
    replies.default_exchange.publish(JSON.generate(taskToken: task['taskToken'], **fields), options)
    replies.wait_for_confirms or abort 'refused by RabbitMQ' # its task comes again
  end
  beat = lambda do |details|
    answers.clear
    reply.call({ status: 'heartbeat', details: details })
    answer = Timeout.timeout(30) { answers.pop } rescue { 'open' => true } # the bridge is away: go on
    raise Closed unless answer['open']
    raise Canceled if answer['cancelRequested']
  end
  begin
    raise Closed if answered[properties.message_id] # delivered twice
    beat.call('again') if info.redelivered? # another worker may have answered; else SWF may have given it up
    raise Closed if !info.redelivered? && Time.now.to_f * 1000 > properties.headers.fetch('swf-deadline', 1e99)
    reply.call({ status: 'completed', result: ACTIVITIES.fetch(info.routing_key).call(task['input'], beat) })
  rescue Closed # answered, timed out or terminated: nobody waits for a reply
  rescue Canceled then reply.call({ status: 'canceled' })
  rescue StandardError => e then reply.call({ status: 'failed', reason: e.message })
  end
  answered[properties.message_id] = true
  tasks.ack(info.delivery_tag) # after the reply: a worker that dies earlier leaves its task to another
end
tasks.connection.close
