"""``python -m benchmark``."""

import signal
import sys

from benchmark.checkout import put_checkout_first
from benchmark.environment import switch_environment
from benchmark.errors import UserError

if __name__ == "__main__":
    try:
        put_checkout_first()
        switch_environment(sys.argv[1:])
        from benchmark.cli import start
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # while packages are imported; later `start` handles it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(130)
    start()
