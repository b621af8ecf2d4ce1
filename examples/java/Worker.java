import com.google.gson.Gson;
import com.rabbitmq.client.*;
import java.util.*;
import java.util.concurrent.*;

import static java.nio.charset.StandardCharsets.UTF_8;

/** A worker in Java. It ends when the broker goes away: supervise it. */
public class Worker {
    record Task(String input) {}
    record Answer(boolean open, boolean cancelRequested) {}

    static final Gson GSON = new Gson();
    static final String DIRECT = "amq.rabbitmq.reply-to"; // the way of the answers to heartbeats

    public static void main(String[] args) throws Exception {
        var factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        factory.setAutomaticRecoveryEnabled(false);
        var connection = factory.newConnection();
        var channel = connection.createChannel();
        channel.confirmSelect();
        channel.basicQos(1); // one task at a time; start several workers for more
        channel.exchangeDeclare("swf.activities", "topic", true);
        channel.queueDeclare("worker.java", true, false, false, null);
        for (var type : List.of("Text.echo.1.0", "Order.check.1.0", "Video.encode.2.0")) {
            channel.queueBind("worker.java", "swf.activities", type);
        }
        var answers = new LinkedBlockingQueue<Answer>();
        channel.basicConsume(DIRECT, true, (tag, message) ->
            answers.add(GSON.fromJson(new String(message.getBody(), UTF_8), Answer.class)), tag -> {});
        var tasks = new LinkedBlockingQueue<Optional<Delivery>>(); // an empty one ends it
        channel.basicConsume("worker.java", (tag, message) -> tasks.add(Optional.of(message)), tag -> {});
        connection.addShutdownListener(cause -> tasks.add(Optional.empty()));
        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { // SIGTERM: what is in hand is finished
            tasks.add(Optional.empty());
            try { main.join(); } catch (InterruptedException ended) {}
        }));
        var answered = new HashSet<String>();
        for (var next = tasks.take(); next.isPresent(); next = tasks.take()) {
            var message = next.get();
            var deadline = message.getProperties().getHeaders().get("swf-deadline"); // milliseconds
            var past = deadline instanceof Long until && until < System.currentTimeMillis()
                && !message.getEnvelope().isRedeliver(); // SWF has given it up
            if (answered.add(message.getProperties().getMessageId()) && !past) { // else it was delivered twice
                new Activity(message, channel, answers).perform();
            }
            // After the reply: a worker that dies earlier leaves its task to another.
            channel.basicAck(message.getEnvelope().getDeliveryTag(), false);
        }
        connection.close();
    }
}
