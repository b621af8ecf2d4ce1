<?php // A worker in PHP, for three types of activity. It ends when the broker goes away: supervise it.
require_once 'PhpAmqpLib/autoload.php';
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
class Canceled extends Exception {} class Closed extends Exception {} // for the latter nobody waits any more
$activities = [
    'Text.echo.1.0' => fn($input) => $input ?? '',
    'Order.check.1.0' => fn($input) => json_decode($input)->amount > 0
        ? ['accepted' => true] : throw new Exception('amount must be positive'),
    'Video.encode.2.0' => function ($input, $beat) {
        for ($step = 0; $step < json_decode($input)->steps; $step++) {
            if ($step % 5 === 0) $beat("step $step"); // once a second
            usleep(200_000); // the work
        }
        return 'encoded';
    },
];
$url = parse_url(getenv('AMQP_URL') ?: 'amqp://guest:guest@localhost') + ['port' => 5672, 'path' => '/%2f'];
$vhost = urldecode(substr($url['path'], 1));
$connection = new AMQPStreamConnection($url['host'], $url['port'], $url['user'], $url['pass'], $vhost);
[$channel, $replies] = [$connection->channel(), $connection->channel()];
[$answers, $answered] = [new stdClass(), new ArrayObject()];
$replies->confirm_select(); $replies->set_nack_handler(fn() => exit(1)); // refused: its task comes again
$replies->basic_consume('amq.rabbitmq.reply-to', no_ack: true, callback: fn($m) => $answers->last = $m->body);
$channel->basic_qos(0, 1, false); // one task at a time; start several workers for more
$channel->exchange_declare('swf.activities', 'topic', durable: true, auto_delete: false);
$channel->queue_declare($queue = getenv('QUEUE') ?: 'worker.php', durable: true, auto_delete: false);
foreach ($activities as $type => $_) $channel->queue_bind($queue, 'swf.activities', $type);
$channel->basic_consume($queue, callback: function ($message) use ($activities, $replies, $answers, $answered) {
    ['taskToken' => $taskToken, 'input' => $input] = json_decode($message->body, true) + ['input' => null];
    $headers = $message->get('application_headers')->getNativeData() + ['swf-deadline' => INF];
    $reply = function (array $fields) use ($taskToken, $message, $replies) {
        $body = json_encode(compact('taskToken') + $fields, JSON_THROW_ON_ERROR);
        $sent = new AMQPMessage($body, ['delivery_mode' => 2, 'reply_to' => 'amq.rabbitmq.reply-to']);
        $replies->basic_publish($sent, '', $message->get('reply_to'));
        $replies->wait_for_pending_acks(30);
    };
    $beat = function (string $details) use ($reply, $replies, $answers) {
        $answers->last = null;
        $reply(['status' => 'heartbeat', 'details' => $details]);
        try { while (!$answers->last) $replies->wait(null, false, 30); }
        catch (AMQPTimeoutException) { return; } // the bridge is away: go on
        ['open' => $open, 'cancelRequested' => $cancelRequested] = json_decode($answers->last, true);
        if (!$open || $cancelRequested) throw $open ? new Canceled() : new Closed();
    };
    try {
        if (isset($answered[$message->get('message_id')])) throw new Closed(); // delivered twice
        if ($message->isRedelivered()) $beat('again'); // another worker may have answered
        elseif ($headers['swf-deadline'] < microtime(true) * 1000) throw new Closed(); // SWF has given it up
        $reply(['status' => 'completed', 'result' => $activities[$message->getRoutingKey()]($input, $beat)]);
    } catch (Closed) {} catch (Canceled) { $reply(['status' => 'canceled']);
    } catch (Exception $e) { $reply(['status' => 'failed', 'reason' => $e->getMessage()]); }
    $answered[$message->get('message_id')] = true;
    $message->ack(); // after the reply: a worker that dies earlier leaves its task to another
});
pcntl_async_signals(true);
pcntl_signal(SIGTERM, fn() => $channel->stopConsume()); // what is in hand is finished
$channel->consume(); $connection->close();
