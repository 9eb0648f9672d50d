"""The explicit list of tools. Contracts are public; handlers leave through one capability, claimed once."""

from collections.abc import Callable
from dataclasses import dataclass

from agentops.wire.parse import JSONObject

from . import schema
from .contracts import (
    CallContext,
    Consequence,
    ContractError,
    Effect,
    ReadBack,
    Reconciled,
    ToolContract,
    parse_version,
)

Handler = Callable[[CallContext, JSONObject], JSONObject]
Describe = Callable[[JSONObject], Consequence]
Reconcile = Callable[[CallContext, JSONObject], Reconciled]
Confirm = Callable[[CallContext, JSONObject, JSONObject], ReadBack]
"""Context, arguments and output of a call that succeeded -> whether its effect is there."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A contract together with the code that fulfils it."""

    contract: ToolContract
    handler: Handler
    reconcile: Reconcile | None
    read_back: Confirm | None = None


Lookup = Callable[[str, str], Bound | None]


UNDESCRIBED = Consequence("Effect not described", warnings=("This tool has no preview of its effect.",))
"""What is known about a call of a tool without a preview."""


class HandlersClaimedError(RuntimeError):
    """Raised when somebody besides the executor asks for the handlers of a registry."""


class Registry:
    """Tools by name and version.

    Handlers are held in a closure. `claim_handlers` hands out the one function that can look them up, once;
    the executor takes it when it is made, so nothing else can reach a handler through the registry.
    """

    def __init__(self) -> None:
        bound: dict[tuple[str, str], Bound] = {}
        claimed = False

        def put(entry: Bound) -> None:
            bound[entry.contract.name, entry.contract.version] = entry

        def drop(name: str, version: str) -> None:
            bound.pop((name, version), None)

        def look_up(name: str, version: str) -> Bound | None:
            return bound.get((name, version))

        def claim() -> Lookup:
            nonlocal claimed
            if claimed:
                raise HandlersClaimedError("the handlers of this registry belong to its executor")
            claimed = True
            return look_up

        self._put, self._drop, self._claim = put, drop, claim
        self._contracts: dict[str, dict[str, ToolContract]] = {}
        self._describe: dict[tuple[str, str], Describe] = {}
        self._reads_back: set[tuple[str, str]] = set()

    def register(
        self,
        contract: ToolContract,
        handler: Handler,
        *,
        reconcile: Reconcile | None = None,
        describe: Describe | None = None,
        read_back: Confirm | None = None,
    ) -> None:
        """Add one version of a tool. `read_back` is its postcondition: it looks at the effect of a call that succeeded.

        Raises `ContractError` when the version exists already, a schema is not strict and bounded, an unsafe write
        has no `reconcile` hook, or a read has a postcondition.
        """
        name, version = contract.name, contract.version
        if version in self._contracts.get(name, {}):
            raise ContractError(f"{name} {version} is registered already")
        if contract.effect is Effect.UNSAFE_WRITE and reconcile is None:
            raise ContractError(f"{name} {version}: an unsafe write needs a reconcile hook")
        if contract.effect is Effect.READ and read_back is not None:
            raise ContractError(f"{name} {version}: a read has no effect to read back")
        for side, part in (("input", contract.input_schema), ("output", contract.output_schema)):
            schema.assert_strict(part, where=f"{name} {version} {side}")
            schema.compile(part)
        self._put(Bound(contract, handler, reconcile, read_back))
        self._contracts.setdefault(name, {})[version] = contract
        if describe is not None:
            self._describe[name, version] = describe
        if read_back is not None:
            self._reads_back.add((name, version))

    def remove(self, name: str, version: str) -> None:
        """Take one version out; calls to it then end in not_found. Removing what is not there is no error."""
        self._drop(name, version)
        self._describe.pop((name, version), None)
        self._reads_back.discard((name, version))
        versions = self._contracts.get(name, {})
        versions.pop(version, None)
        if not versions:
            self._contracts.pop(name, None)

    def get(self, name: str, version: str | None = None) -> ToolContract | None:
        """Return the contract of one version, by default of the highest; None when there is none."""
        versions = self._contracts.get(name)
        if not versions:
            return None
        if version is not None:
            return versions.get(version)
        return versions[max(versions, key=parse_version)]

    def contracts(self) -> list[ToolContract]:
        """Return the highest version of every tool, by name."""
        return [contract for name in sorted(self._contracts) if (contract := self.get(name)) is not None]

    def all_versions(self) -> list[ToolContract]:
        """Return every registered contract, by name and version."""
        return [
            versions[v] for _, versions in sorted(self._contracts.items()) for v in sorted(versions, key=parse_version)
        ]

    def reads_back(self, name: str, version: str) -> bool:
        """Say whether the effect of a call can be read back."""
        return (name, version) in self._reads_back

    def describe(self, name: str, version: str, arguments: JSONObject) -> Consequence:
        """Return what a call with these (valid) arguments would touch, from our own records.

        Queries the database in the current tenant scope. A tool without a preview says so in a warning.
        """
        hook = self._describe.get((name, version))
        if hook is None:
            return UNDESCRIBED
        return hook(arguments)

    def claim_handlers(self) -> Lookup:
        """Hand out the look-up of handlers, once. Raises `HandlersClaimedError` afterwards. For the executor."""
        return self._claim()


registry = Registry()
