"""What a call would touch, asked of the tool's own preview; a preview that crashes makes the call uninspectable."""

import logging
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from agentops.wire.parse import JSON, JSONObject, as_object, clean
from tools.contracts import Consequence, ToolContract
from tools.registry import registry

logger = logging.getLogger(__name__)

UNINSPECTABLE: Final = "uninspectable"


@dataclass(frozen=True, slots=True)
class Preview:
    """A consequence and the JSON that is frozen with the proposal; `consequence` is None when there is no knowing."""

    consequence: Consequence | None
    shown: JSONObject


def preview(contract: ToolContract, arguments: JSONObject) -> Preview:
    """Return what a call with these valid arguments would touch. Queries the database; never raises for a bad preview.

    The preview runs in a savepoint, so that its failed query does not take the caller's transaction with it.
    """
    try:
        with transaction.atomic():
            found = registry.describe(contract.name, contract.version, arguments)
            return Preview(found, shown(contract, found))
    except Exception as error:
        logger.exception("the preview of %s %s failed", contract.name, contract.version)
        warning = f"{UNINSPECTABLE}: the tool could not say what this would touch ({type(error).__name__})."
        unknown = Consequence("Nobody can say what this would touch", warnings=(warning,))
        return Preview(None, shown(contract, unknown))


def shown(contract: ToolContract, found: Consequence) -> JSONObject:
    """Return a consequence as it is frozen, with how it can be taken back. Pure."""
    reversible: JSON = {"state": str(contract.reversible.state), "text": contract.reversible.text}
    return as_object(clean(found.to_json())) | {"reversible": reversible}
