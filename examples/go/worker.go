// A worker in Go. It ends when the broker goes away: supervise it.
package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err) // a supervisor starts it again
	}
	return value
}

func main() {
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	connection := must(amqp.Dial(os.Getenv("AMQP_URL")))
	channel := must(connection.Channel())
	must(0, channel.Confirm(false))
	must(0, channel.Qos(1, 0, false)) // one task at a time; start several workers for more
	must(0, channel.ExchangeDeclare("swf.activities", "topic", true, false, false, false, nil))
	must(channel.QueueDeclare("worker.go", true, false, false, false, nil))
	for _, key := range []string{"Text.echo.1.0", "Order.check.1.0", "Video.encode.2.0"} {
		must(0, channel.QueueBind("worker.go", key, "swf.activities", false, nil))
	}
	direct := "amq.rabbitmq.reply-to" // the way of the answers to heartbeats
	answers := must(channel.Consume(direct, "", true, false, false, false, nil))
	tasks := must(channel.Consume("worker.go", "tasks", false, false, false, false, nil))
	go func() { <-stop.Done(); channel.Cancel("tasks", false) }() // what is in hand is finished
	answered := map[string]bool{}
	for message := range tasks {
		var task struct{ TaskToken, Input string }
		must(0, json.Unmarshal(message.Body, &task))
		reply := func(fields fields) {
			fields["taskToken"] = task.TaskToken
			sent := amqp.Publishing{Body: must(json.Marshal(fields)), DeliveryMode: amqp.Persistent,
				CorrelationId: message.MessageId, ReplyTo: direct}
			if !must(channel.PublishWithDeferredConfirmWithContext(
				context.Background(), "", message.ReplyTo, false, false, sent)).Wait() {
				panic("RabbitMQ has refused the reply") // its task comes again
			}
		}
		deadline, known := message.Headers["swf-deadline"].(int64)                 // milliseconds
		past := known && !message.Redelivered && deadline < time.Now().UnixMilli() // SWF has given it up
		if !answered[message.MessageId] && !past {                                 // else it was delivered twice
			perform(message, task.Input, reply, answers)
		}
		answered[message.MessageId] = true
		must(0, message.Ack(false)) // after the reply: a worker that dies earlier leaves its task to another
	}
	must(0, connection.Close())
}
