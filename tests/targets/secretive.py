"""Answers with the digest of DB_PASSWORD: whoever knows the password can tell that it arrived, nobody else learns it."""

import hashlib
import os

from serving import serve

digest = hashlib.sha256(os.environ["DB_PASSWORD"].encode()).hexdigest()

serve(lambda body: digest)
