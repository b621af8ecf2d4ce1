<?php // A worker in PHP, for three types of activity. Debian: php-amqplib, php-cli.
require_once 'PhpAmqpLib/autoload.php';
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;

class Closed extends Exception {} // timed out or terminated: nobody waits for a reply
class Canceled extends Exception {}
const DIRECT = 'amq.rabbitmq.reply-to';

$activities = [
    'Text.echo.1.0' => fn(?string $input, $beat) => $input ?? '',
    'Order.check.1.0' => function (?string $input, $beat) {
        $order = json_decode($input);
        if ($order->amount <= 0) throw new DomainException('amount must be positive');
        return ['order' => $order->order, 'accepted' => true];
    },
    'Video.encode.2.0' => function (?string $input, $beat) {
        for ($step = 0; $step < json_decode($input)->steps; $step++) {
            if ($step % 5 === 0) $beat("step $step"); // once a second
            usleep(200_000); // the work
        }
        return 'encoded';
    },
];
$url = parse_url(getenv('AMQP_URL') ?: 'amqp://guest:guest@localhost:5672/%2f');
$vhost = urldecode(substr($url['path'] ?? '/%2f', 1));
$connection = new AMQPStreamConnection($url['host'], $url['port'] ?? 5672, $url['user'], $url['pass'], $vhost);
[$channel, $replies] = [$connection->channel(), $connection->channel()];
$replies->confirm_select();
$channel->basic_qos(0, 1, false); // one task at a time; start several workers for more
$channel->exchange_declare('swf.activities', 'topic', false, true, false);
$channel->queue_declare($queue = getenv('QUEUE') ?: 'worker.php', false, true, false, false);
foreach ($activities as $type => $_) $channel->queue_bind($queue, 'swf.activities', $type);
$answer = null;
$replies->basic_consume(DIRECT, '', false, true, false, false, function ($m) use (&$answer) { $answer = json_decode($m->body); });

$answered = [];
$channel->basic_consume($queue, 'tasks', false, false, false, false, function ($message) use (&$answered, &$answer, $replies, $activities) {
    $task = json_decode($message->body);
    $id = $message->get('message_id');
    $reply = function (array $fields, array $properties = []) use ($task, $message, $replies) {
        $body = json_encode(['taskToken' => $task->taskToken] + $fields, JSON_THROW_ON_ERROR);
        $replies->basic_publish(new AMQPMessage($body, $properties + ['delivery_mode' => 2]), '', $message->get('reply_to'));
        $replies->wait_for_pending_acks(30);
    };
    $beat = function (string $details) use ($reply, $replies, &$answer) {
        $answer = null;
        $reply(['status' => 'heartbeat', 'details' => $details], ['reply_to' => DIRECT]);
        try { while (!$answer) $replies->wait(null, false, 30); }
        catch (AMQPTimeoutException) { return; } // the bridge is away: go on
        if (!$answer->open) throw new Closed();
        if ($answer->cancelRequested) throw new Canceled();
    };
    try {
        if (!isset($answered[$id])) { // else delivered twice
            if ($message->isRedelivered()) $beat('again'); // another worker may have answered
            $work = $activities["{$task->activityType->name}.{$task->activityType->version}"];
            $reply(['status' => 'completed', 'result' => $work($task->input ?? null, $beat)]);
        }
    } catch (Closed) {
    } catch (Canceled) { $reply(['status' => 'canceled']);
    } catch (Exception $e) { $reply(['status' => 'failed', 'reason' => $e->getMessage()]); }
    $answered[$id] = true;
    $message->ack(); // after the reply: a worker that dies earlier leaves its task to another
});
pcntl_async_signals(true);
pcntl_signal(SIGTERM, function () use (&$stop) { $stop = true; }); // what is in hand is finished
while (!$stop) try { $channel->wait(null, false, 1); } catch (AMQPTimeoutException) {}
$connection->close();
