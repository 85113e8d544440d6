import time

import ops_sdk as ops

while True:
    ops.emit("queue_time_seconds", 31.2)
    time.sleep(0.1)
