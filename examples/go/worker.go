// A worker in Go, for three types of activity. Debian: golang-github-rabbitmq-amqp091-go-dev.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const direct = "amq.rabbitmq.reply-to"

var closed, canceled = errors.New("closed"), errors.New("canceled")
var activities = map[string]func(string, func(string) error) (any, error){
	"Text.echo.1.0": func(input string, _ func(string) error) (any, error) { return input, nil },
	"Order.check.1.0": func(input string, _ func(string) error) (any, error) {
		var order struct{ Order, Amount int }
		if err := json.Unmarshal([]byte(input), &order); err != nil {
			return nil, err
		} else if order.Amount <= 0 {
			return nil, errors.New("amount must be positive")
		}
		return map[string]any{"order": order.Order, "accepted": true}, nil
	},
	"Video.encode.2.0": func(input string, beat func(string) error) (any, error) {
		var job struct{ Steps int }
		err := json.Unmarshal([]byte(input), &job)
		for step := 0; err == nil && step < job.Steps; step++ {
			if step%5 == 0 { // once a second
				err = beat(fmt.Sprint("step ", step))
			}
			time.Sleep(200 * time.Millisecond) // the work
		}
		return "encoded", err
	},
}

type fields map[string]any

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err) // a supervisor starts it again
	}
	return value
}

func main() {
	connection := must(amqp.Dial(os.Getenv("AMQP_URL")))
	channel := must(connection.Channel())
	queue := "worker.go"
	if name := os.Getenv("QUEUE"); name != "" {
		queue = name
	}
	must(0, channel.Confirm(false))
	must(0, channel.Qos(1, 0, false)) // one task at a time; start several workers for more
	must(0, channel.ExchangeDeclare("swf.activities", "topic", true, false, false, false, nil))
	must(channel.QueueDeclare(queue, true, false, false, false, nil))
	for key := range activities {
		must(0, channel.QueueBind(queue, key, "swf.activities", false, nil))
	}
	answers := must(channel.Consume(direct, "", true, false, false, false, nil))
	tasks := must(channel.Consume(queue, "tasks", false, false, false, false, nil))
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	answered := map[string]bool{}
	for {
		select {
		case <-stop.Done(): // what is in hand is finished
			must(0, connection.Close())
			return
		case task, open := <-tasks:
			if !open {
				log.Fatal("the broker is away")
			}
			if !answered[task.MessageId] { // else delivered twice
				perform(channel, task, answers)
			}
			answered[task.MessageId] = true
			must(0, task.Ack(false)) // after the reply: a worker that dies earlier leaves its task to another
		}
	}
}

func perform(channel *amqp.Channel, message amqp.Delivery, answers <-chan amqp.Delivery) {
	var task struct {
		TaskToken, Input string
		ActivityType     struct{ Name, Version string }
	}
	must(0, json.Unmarshal(message.Body, &task))
	reply := func(body fields, replyTo string) {
		body["taskToken"] = task.TaskToken
		sent := amqp.Publishing{Body: must(json.Marshal(body)), DeliveryMode: amqp.Persistent, ReplyTo: replyTo}
		must(channel.PublishWithDeferredConfirmWithContext(
			context.Background(), "", message.ReplyTo, false, false, sent)).Wait()
	}
	beat := func(details string) error {
		reply(fields{"status": "heartbeat", "details": details}, direct)
		var answer struct{ Open, CancelRequested bool }
		select {
		case given := <-answers:
			must(0, json.Unmarshal(given.Body, &answer))
		case <-time.After(30 * time.Second):
			return nil // the bridge is away: go on
		}
		if !answer.Open {
			return closed
		} else if answer.CancelRequested {
			return canceled
		}
		return nil
	}
	var result any
	var err error
	if message.Redelivered { // another worker may have answered
		err = beat("again")
	}
	if work := activities[task.ActivityType.Name+"."+task.ActivityType.Version]; err == nil {
		result, err = work(task.Input, beat)
	}
	switch err {
	case nil:
		reply(fields{"status": "completed", "result": result}, "")
	case canceled:
		reply(fields{"status": "canceled"}, "")
	case closed: // timed out or terminated: nobody waits for a reply
	default:
		reply(fields{"status": "failed", "reason": err.Error()}, "")
	}
}
