package main

import (
	"encoding/json"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type fields map[string]any

func perform(task amqp.Delivery, input string, reply func(fields), answers <-chan amqp.Delivery) {
	var job struct{ Order, Amount, Steps int }
	err := json.Unmarshal([]byte(input), &job)
	switch key := task.RoutingKey; {
	case key == "Text.echo.1.0":
		reply(fields{"status": "completed", "result": input})
	case err != nil:
		reply(fields{"status": "failed", "reason": err.Error()})
	case key == "Order.check.1.0" && job.Amount <= 0:
		reply(fields{"status": "failed", "reason": "amount must be positive"})
	case key == "Order.check.1.0":
		reply(fields{"status": "completed", "result": fields{"order": job.Order, "accepted": true}})
	default:
		encode(task.MessageId, job.Steps, reply, answers)
	}
}

func encode(id string, steps int, reply func(fields), answers <-chan amqp.Delivery) {
	reply(fields{"status": "heartbeat"}) // delivered before? Then another worker may have answered
	beat, done := time.NewTicker(time.Second), time.After(time.Duration(steps)*time.Second/5)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			reply(fields{"status": "heartbeat"})
		case <-done: // the work, which goes on while the bridge is away
			reply(fields{"status": "completed", "result": "encoded"})
			return
		case given := <-answers:
			var answer struct{ Open, CancelRequested bool }
			must(0, json.Unmarshal(given.Body, &answer))
			switch {
			case given.CorrelationId != id: // to the last heartbeat of a task before
			case !answer.Open: // timed out or terminated: nobody waits for a reply
				return
			case answer.CancelRequested:
				reply(fields{"status": "canceled"})
				return
			}
		}
	}
}
