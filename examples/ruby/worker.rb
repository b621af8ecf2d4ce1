# A worker in Ruby, for three types of activity. Debian: ruby-bunny.
require 'bunny'
require 'json'
require 'timeout'

Closed = Class.new(StandardError) # timed out or terminated: nobody waits for a reply
Canceled = Class.new(StandardError)
ACTIVITIES = {
  'Text.echo.1.0' => ->(input, _) { input.to_s },
  'Order.check.1.0' => lambda do |input, _|
    order = JSON.parse(input)
    raise 'amount must be positive' unless order['amount'].positive?
    { order: order['order'], accepted: true }
  end,
  'Video.encode.2.0' => lambda do |input, beat|
    JSON.parse(input)['steps'].times do |step|
      beat.call("step #{step}") if (step % 5).zero? # once a second
      sleep 0.2 # the work
    end
    'encoded'
  end
}.freeze

connection = Bunny.new(ENV.fetch('AMQP_URL', 'amqp://localhost')).start
tasks, replies = Array.new(2) { connection.create_channel }
replies.confirm_select
tasks.prefetch(1) # one task at a time; start several workers for more
exchange = tasks.topic('swf.activities', durable: true)
queue = tasks.queue(ENV.fetch('QUEUE', 'worker.ruby'), durable: true)
ACTIVITIES.each_key { |type| queue.bind(exchange, routing_key: type) }
inbox, answers, answered = Queue.new, Queue.new, {}
direct = 'amq.rabbitmq.reply-to'
replies.basic_consume(direct, replies.generate_consumer_tag, true) { |*, body| answers << JSON.parse(body) }
consumer = queue.subscribe(manual_ack: true) { |*delivery| inbox << delivery }
trap('TERM') { Thread.new { consumer.cancel; inbox.close } } # what is in hand is finished

while (info, properties, body = inbox.pop)
  task = JSON.parse(body)
  reply = lambda do |fields, **options|
    message = JSON.generate(taskToken: task['taskToken'], **fields)
    replies.default_exchange.publish(message, routing_key: properties.reply_to, persistent: true, **options)
    replies.wait_for_confirms
  end
  beat = lambda do |details|
    answers.clear
    reply.call({ status: 'heartbeat', details: details }, reply_to: direct)
    answer = Timeout.timeout(30) { answers.pop } rescue { 'open' => true } # the bridge is away: go on
    raise Closed unless answer['open']
    raise Canceled if answer['cancelRequested']
  end
  begin
    unless answered.key?(properties.message_id) # delivered twice
      beat.call('again') if info.redelivered? # another worker may have answered
      type = task['activityType'].values_at('name', 'version').join('.')
      reply.call({ status: 'completed', result: ACTIVITIES.fetch(type).call(task['input'], beat) })
    end
  rescue Closed # no reply
  rescue Canceled then reply.call({ status: 'canceled' })
  rescue StandardError => e then reply.call({ status: 'failed', reason: e.message })
  end
  answered[properties.message_id] = true
  tasks.ack(info.delivery_tag) # after the reply: a worker that dies earlier leaves its task to another
end
connection.close
