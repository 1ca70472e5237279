"""An installation that many tests share, each with organisations of its own."""

from tests.support.outside.identities import Organization, organization
from tests.support.outside.world import World

#: More than the tests of a session ask for together.
_STOCKED = 100


class Shop:
    """An installation with a worker and a listener that many tests share, each with organisations of its own."""

    def __init__(self, world: World) -> None:
        """Register organisations to hand out, listen, and start the worker."""
        self.world = world
        self._unused = [organization(claim_quantity=20) for _ in range(_STOCKED)]
        world.register(*self._unused)
        assert world.events.everything() == []
        world.worker()

    def organization(self) -> Organization:
        """Give an organisation that no test had before, alone with its taxpayer: 20 numbers a claim, no stock yet."""
        return self._unused.pop()
