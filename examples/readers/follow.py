"""Follows ops.incidents with stock libraries; with PARTITION OFFSET it replays that partition from there, and goes on."""
# pip install confluent-kafka fastavro
import io, json, pathlib, sys
from confluent_kafka import Consumer, TopicPartition
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

brokers, topic, *place = sys.argv[1:]  # follow.py BROKERS TOPIC [PARTITION OFFSET]
schema = parse_schema(json.loads((pathlib.Path(__file__).parents[2] / "schemas/incident.avsc").read_text()))
header = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "reader", "enable.auto.commit": False,
                     "isolation.level": "read_committed"})  # or events appear that were never decided
if place:
    consumer.assign([TopicPartition(topic, *map(int, place))])
else:  # every partition, from now on
    ids = consumer.list_topics(topic).topics[topic].partitions
    consumer.assign([TopicPartition(topic, i, consumer.get_watermark_offsets(TopicPartition(topic, i))[1]) for i in ids])
print("following", file=sys.stderr, flush=True)
while True:
    if (message := consumer.poll(1.0)) and not message.error():
        if not message.value().startswith(header):
            raise SystemExit(f"{message.partition()}/{message.offset()} was written by another schema")
        event = schemaless_reader(io.BytesIO(message.value()[len(header):]), schema)
        print(message.partition(), message.offset(), event["event"], event["service"], event["incident"], flush=True)
