import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()

# Loads the catalogue now and not at the first request: with gunicorn's preload_app that is before the fork.
import shop.views  # noqa: E402, F401
