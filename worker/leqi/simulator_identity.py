"""Who the fake authority knows when nobody says otherwise.

Both values are public: they stand in the sources, so they protect nothing.
A production worker refuses them.
"""

from typing import Final

SIMULATOR_DIRECT_UNIT_ID: Final = "DU00000000000001"
"""Platform id (`jrdwptbh`) of the direct unit that the simulator admits."""

SIMULATOR_KEY_HEX: Final = "0123456789abcdeffedcba9876543210"
"""The direct unit's SM4 key: 16 bytes, in hex."""
