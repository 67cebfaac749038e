"""Answers with the wrong JSON."""

import serving

serving.json.dumps, dumps = (lambda value: dumps({"answer": value.get("response", "")}), serving.json.dumps)
serving.serve(lambda body: "right")
