"""What gunicorn reads by itself in the directory that it is started in."""

worker_class = "gthread"
# A worker more would hold the table once more; examples/django has the way around that.
workers = 1
threads = 8
# Longer than a client waits between two requests; with the default of 2 s both may use and close a connection at once.
keepalive = 30
# Gunicorn 25.1 and newer would leave a socket in the home directory.
control_socket_disable = True
