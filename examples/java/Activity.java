import com.google.gson.JsonParser;
import com.rabbitmq.client.*;
import java.util.*;
import java.util.concurrent.*;

import static java.nio.charset.StandardCharsets.UTF_8;

/** A task in hand, of one of three types. */
record Activity(Delivery message, Channel channel, BlockingQueue<Worker.Answer> answers) {
    static class Closed extends Exception {} // timed out or terminated: nobody waits for a reply
    static class Canceled extends Exception {}

    void perform() throws Exception {
        var task = Worker.GSON.fromJson(new String(message.getBody(), UTF_8), Worker.Task.class);
        try {
            if (message.getEnvelope().isRedeliver()) beat("again"); // another worker may have answered
            reply("completed", "result", work(Objects.requireNonNullElse(task.input(), "")));
        } catch (Closed closed) { // no reply
        } catch (Canceled canceled) {
            reply("canceled", "details", "as requested");
        } catch (Exception error) {
            reply("failed", "reason", String.valueOf(error.getMessage()));
        }
    }

    private Object work(String input) throws Exception {
        var type = message.getEnvelope().getRoutingKey();
        if (type.equals("Text.echo.1.0")) return input;
        var job = JsonParser.parseString(input).getAsJsonObject();
        if (type.equals("Order.check.1.0")) {
            if (job.get("amount").getAsInt() <= 0) throw new Exception("amount must be positive");
            return Map.of("order", job.get("order"), "accepted", true);
        }
        for (int step = 0; step < job.get("steps").getAsInt(); step++) {
            if (step % 5 == 0) beat("step " + step); // once a second
            Thread.sleep(200); // the work
        }
        return "encoded";
    }

    private void beat(String details) throws Exception {
        answers.clear();
        reply("heartbeat", "details", details);
        var answer = answers.poll(30, TimeUnit.SECONDS); // null: the bridge is away, and the work goes on
        if (answer != null && !answer.open()) throw new Closed();
        if (answer != null && answer.cancelRequested()) throw new Canceled();
    }

    private void reply(String status, String name, Object value) throws Exception {
        var token = message.getProperties().getHeaders().get("swf-task-token").toString();
        var body = Worker.GSON.toJson(Map.of("taskToken", token, "status", status, name, value));
        var properties = new AMQP.BasicProperties.Builder().deliveryMode(2).replyTo(Worker.DIRECT).build();
        channel.basicPublish("", message.getProperties().getReplyTo(), properties, body.getBytes(UTF_8));
        if (!channel.waitForConfirms(30_000)) Runtime.getRuntime().halt(1); // refused: the task comes again
    }
}
