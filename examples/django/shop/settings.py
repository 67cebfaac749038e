"""No more than one JSON view needs: no database, no sessions, no templates. All of it comes from the environment."""

import os

DEBUG = os.environ.get("DEBUG", "0") == "1"
# A deployment sets its own; there is nothing here that it would sign.
SECRET_KEY = os.environ.get("SECRET_KEY", "not-a-secret-example-only")
# Without the host that the load asks for, each request is a 400 and the service never gets ready.
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")

ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
# Larger bodies are refused with a 400 before they are read.
DATA_UPLOAD_MAX_MEMORY_SIZE = 100_000
USE_TZ = True

# A line per refused request is for an access log, not for the error log.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"django.request": {"level": "ERROR"}},
}
