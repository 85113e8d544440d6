import ops_sdk as ops

svc = ops.register("scanner.ops.yaml")
print(svc.id)
