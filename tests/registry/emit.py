"""Readings by the stock serializer: its schema is registered, each value is in the wire format. BROKERS REGISTRY TOPIC KEY VALUE..."""
import sys, time
from confluent_kafka import SerializingProducer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import StringSerializer

# Not ours: another order, a float, no attributes, a field that nobody asked for.
SCHEMA = """{"type": "record", "name": "Measurement", "namespace": "acme", "fields": [
    {"name": "value", "type": "float"}, {"name": "sensor", "type": "string"}, {"name": "service", "type": "string"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "note", "type": ["null", "string"], "default": null}]}"""

brokers, registry, topic, key, *values = sys.argv[1:]
serializer = AvroSerializer(SchemaRegistryClient({"url": registry}), SCHEMA,
                            conf={"subject.name.strategy": lambda context, name: f"{topic}.{name}"})
producer = SerializingProducer({"bootstrap.servers": brokers, "key.serializer": StringSerializer(),
                                "value.serializer": serializer})
for value in values:
    producer.produce(topic, key=key, value={"service": key, "sensor": "q", "value": float(value), "note": "hi",
                                            "ts": int(time.time() * 1000)})
left = producer.flush(60)
sys.exit(f"{left} were not delivered" if left else 0)
