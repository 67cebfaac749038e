"""What each import of a Python program costs, recorded in fresh interpreters.

`RECORDER` runs inside the program (see its own text for the file that it writes); `command` says how to start a program under
it; `start` makes one such start in a sandbox. What the records mean is judged in `profiling.judging.imports`.
"""
