"""`make hostile`: each attack on a daemon of its own; a table of what good work beside it saw.

Exit code 0 where every attack left 99 of 100 good tasks settled within two seconds and the daemon
alive, 1 where one did not.
"""

import argparse
import random
import sys

from bridge.local.rabbitmq import RabbitNode

from .every import ATTACKS
from .measure import HEAD, SECONDS, measure


def main() -> int:
    given = _arguments()
    if given.list:
        for attack in ATTACKS.values():
            print(f"{attack.name}\n    {attack.sentence}")
        return 0
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}\n{HEAD}", flush=True)
    broken = 0
    with RabbitNode() as node:
        for name in dict.fromkeys(("nothing", *(given.only or ATTACKS))):
            figures = measure(node, ATTACKS[name], seed, given.seconds)
            print(figures.row(), flush=True)
            if name == "nothing" and not figures.holds:
                print("this machine is too busy: no row tells anything of an attack", flush=True)
            broken += not (figures.holds or figures.attack.control)
    print(f"{broken or 'no'} promise{'s' if broken != 1 else ''} broken; seed {seed}")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(ATTACKS), metavar="ATTACK")
    parser.add_argument("--list", action="store_true", help="what each attack does")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each attack")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
