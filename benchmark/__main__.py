"""``python -m benchmark``."""

import sys

from benchmark.checkout import put_checkout_first
from benchmark.environment import switch_environment
from benchmark.errors import UserError

if __name__ == "__main__":
    try:
        put_checkout_first()
        switch_environment(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from benchmark.cli import start

    start()
