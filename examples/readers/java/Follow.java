// Follows ops.incidents with stock libraries; with PARTITION OFFSET it replays that partition from there, and goes on.
import java.io.File;
import java.time.Duration;
import java.util.*;
import org.apache.avro.Schema;
import org.apache.avro.generic.*;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

class Follow {
  public static void main(String[] args) throws Exception { // SCHEMA BROKERS TOPIC [PARTITION OFFSET]
    var schema = new Schema.Parser().parse(new File(args[0]));
    var decoder = new BinaryMessageDecoder<GenericRecord>(GenericData.get(), schema);
    var settings = Map.<String, Object>of("bootstrap.servers", args[1], "enable.auto.commit", false,
        "isolation.level", "read_committed"); // or events appear that were never decided
    try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      if (args.length > 3) {
        var place = new TopicPartition(args[2], Integer.parseInt(args[3]));
        consumer.assign(List.of(place));
        consumer.seek(place, Long.parseLong(args[4]));
      } else { // every partition, from now on
        var all = consumer.partitionsFor(args[2]).stream().map(p -> new TopicPartition(p.topic(), p.partition())).toList();
        consumer.assign(all);
        consumer.seekToEnd(all);
        all.forEach(consumer::position); // asks for the end now, not at the first poll
      }
      System.err.println("following");
      while (true) {
        for (var record : consumer.poll(Duration.ofSeconds(1))) {
          var event = decoder.decode(record.value());
          System.out.println(record.partition() + " " + record.offset() + " " + event.get("event") + " "
              + event.get("service") + " " + event.get("incident"));
        }
      }
    }
  }
}
