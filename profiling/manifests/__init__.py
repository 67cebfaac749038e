"""Deploy manifests to the limits, environment and command of a service.

One file per platform (`render`, `fly`, `compose`, `kubernetes`, `heroku`, `ecs`), each `read(text, file, catalogue)`;
`detect` tells which one a file is for and picks one service of it. Nothing of ours is imported but values, units and errors.
"""
