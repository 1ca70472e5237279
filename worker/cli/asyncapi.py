"""`fuma asyncapi`: the contract's messages, for programs."""

import json
import sys

from schemas.asyncapi import asyncapi_document


def asyncapi() -> None:
    """Print the AsyncAPI 3 document of every message, as JSON."""
    json.dump(asyncapi_document(), sys.stdout, indent=2)
    sys.stdout.write("\n")
