import os

# Without bytecode each process compiles what it imports, and that would be measured.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
