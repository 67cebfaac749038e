"""Whether a service keeps its OpenAPI document: schemathesis's only home, and only in a process of its own.

document.py   fetches the document                      (the tool's process)
checker.py    starts the other process, listens to it   (the tool's process)
tally.py      what it said -> ApiConformance            (the tool's process; pure)
messages.py   what the two say to each other
asking.py     the process: operations, requests, answers. guard.py keeps it to this one service and in time,
              choosing.py picks operations, explaining.py puts into words what is wrong with an answer
"""
