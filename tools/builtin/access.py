"""access.grant_role: give a colleague a role in one of the tenant's systems."""

from agentops.wire.parse import JSONObject
from tools.backoffice.models import Colleague, RoleGrant, SystemRole
from tools.contracts import (
    ArgumentRole,
    Blast,
    CallContext,
    Change,
    Confirmed,
    Consequence,
    Contradicted,
    DidNotHappen,
    Effect,
    ErrorCode,
    Fact,
    Happened,
    ReadBack,
    Reconciled,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    ToolError,
    Trust,
)
from tools.promises import Bounds, CountBound, Promises, Sink

from .effects import another_action, effect, reference
from .shapes import ADDRESS, REASON, choice, closed, text

GRANT_ROLE = ToolContract(
    name="access.grant_role",
    version="1.0.0",
    title="Grant role",
    description="Give the account of a colleague a role in one of our systems.",
    input_schema=closed(system=text(60, minimum=1), account=ADDRESS, role=text(60, minimum=1), reason=REASON),
    output_schema=closed(grant_id=text(40), status=choice("granted")),
    effect=Effect.UNSAFE_WRITE,
    sensitivity=frozenset({Sensitivity.PERMISSION_CHANGE}),
    roles={
        "system": ArgumentRole.AUTHORITY,
        "account": ArgumentRole.AUTHORITY,
        "role": ArgumentRole.AUTHORITY,
        "reason": ArgumentRole.CONTENT,
    },
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset({ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE}),
    sentence="Give {account} the role {role} in {system}",
    reversible=Reversibility(
        Reversal.BY_HAND, "An admin can take the role back; what was done with it meanwhile stays."
    ),
    must_see=("system", "account", "role"),
    promises=Promises(sinks=frozenset({Sink.ACCESS}), bounds=Bounds(recipients=CountBound(("account",), 1))),
)


def grant_role(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Record one grant for an active colleague and a known role, or return the one this key already made."""
    system, account, role = _target(arguments)
    with effect(ctx):
        # The colleague's row lock makes two grants to one account wait for each other.
        colleague = Colleague.objects.select_for_update().filter(account__iexact=account, active=True).first()
        if colleague is None:
            raise ToolError(ErrorCode.NOT_FOUND, f"No active colleague has the account {account}.")
        if not SystemRole.objects.filter(system=system, role=role).exists():
            raise ToolError(ErrorCode.NOT_FOUND, f"There is no role {role} in {system}.")
        grant = RoleGrant.objects.filter(idempotency_key=ctx.idempotency_key).first()
        if grant is None:
            if RoleGrant.objects.filter(system=system, account=colleague.account, role=role).exists():
                raise ToolError(ErrorCode.CONFLICT, f"{colleague.account} already has the role {role} in {system}.")
            grant = RoleGrant.objects.create(
                system=system,
                account=colleague.account,
                role=role,
                reason=str(arguments["reason"]),
                idempotency_key=ctx.idempotency_key,
            )
        elif (grant.system, grant.account, grant.role) != (system, colleague.account, role):
            raise another_action()
    return _output(ctx)


def reconcile(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Look the grant up by key."""
    known = RoleGrant.objects.filter(idempotency_key=ctx.idempotency_key).exists()
    return Happened(_output(ctx)) if known else DidNotHappen()


def read_back(ctx: CallContext, arguments: JSONObject, output: JSONObject) -> ReadBack:
    """Look whether the account has the role now."""
    system, account, role = _target(arguments)
    held = RoleGrant.objects.filter(
        idempotency_key=ctx.idempotency_key, system=system, account__iexact=account, role=role
    ).exists()
    return Confirmed() if held else Contradicted("The account does not have the role.")


def describe(arguments: JSONObject) -> Consequence:
    """Say what the role allows, who the account belongs to and what it can do already."""
    system, account, role = _target(arguments)
    known = SystemRole.objects.filter(system=system, role=role).first()
    colleague = Colleague.objects.filter(account__iexact=account).first()
    held = [f"{g.role} in {g.system}" for g in RoleGrant.objects.filter(account__iexact=account).order_by("pk")[:20]]
    warnings = []
    if known is None:
        warnings.append(f"There is no role {role} in {system}; the call will fail.")
    elif known.privileged:
        warnings.append("This is a privileged role.")
    if colleague is None:
        warnings.append("No colleague has this account; the call will fail.")
    elif not colleague.active:
        warnings.append("This colleague has left; the call will fail.")
    if f"{role} in {system}" in held:
        warnings.append("The account has this role already; the call will fail.")
    return Consequence(
        f"Changes what {colleague.name if colleague else account} may do in {system}",
        blast=(Blast("accounts", 1, account), Blast("systems", 1, system)),
        facts=(
            Fact("Account holder", f"{colleague.name}, {colleague.title}" if colleague else "unknown"),
            Fact("The role allows", known.allows if known else "unknown"),
            Fact("Holds already", ", ".join(held) or "no roles granted here"),
        ),
        warnings=tuple(warnings),
        changes=(_roles(system, account, role, held),) if known and colleague else (),
    )


def _roles(system: str, account: str, role: str, held: list[str]) -> Change:
    """Say which roles in the system the account has before and would have after."""
    before = sorted(one.removesuffix(f" in {system}") for one in held if one.endswith(f" in {system}"))
    return Change(f"roles of {account} in {system}", ", ".join(before), ", ".join(sorted({*before, role})))


def _target(arguments: JSONObject) -> tuple[str, str, str]:
    return str(arguments["system"]), str(arguments["account"]).strip(), str(arguments["role"])


def _output(ctx: CallContext) -> JSONObject:
    return {"grant_id": reference("G", ctx), "status": "granted"}
