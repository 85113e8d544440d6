import ops_sdk as ops
from ops_sdk import dta

print(ops.status("DCA_Luggage_Scanner")["slo_state"])
for entry in dta.find(topic="ops.incident"):
    print(entry)
