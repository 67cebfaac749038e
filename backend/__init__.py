"""The reference chatbot service: a Flask application that oomproof launches by command line and measures.

Nothing outside this package imports it and it imports nothing of the toolkit's, so that it stands for
any service that a user may bring.
"""

import os

# These are read while the libraries are imported, so they have to be set before any module of ours gets
# the chance to import one. A user's own value wins.
# The service answers from local files only: a missing file must be an error, never a download.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Each load would draw a progress bar into the log.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# One query is one string: the tokenizer has nothing to share out, and its thread pool warns after a fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# NumPy only carries arrays here; its BLAS would start a thread per core in the master, before the fork.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Nothing that is asked of the services is to be sent to anybody.
os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
os.environ.setdefault("LANGSMITH_TRACING", "false")
