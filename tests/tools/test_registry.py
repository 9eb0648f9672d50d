"""Tools are registered one by one, and only the executor gets at their handlers."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tools.contracts import ContractError, DidNotHappen, Effect, Reconciled
from tools.executor import Executor
from tools.registry import HandlersClaimedError, Registry, registry
from tools.registry import registry as shipped

ROOT = Path(__file__).parents[2]
TICKET = next(c for c in shipped.contracts() if c.name == "create_ticket")
REFUND = next(c for c in shipped.contracts() if c.name == "shop.issue_refund")


def handler(ctx: Any, arguments: Any) -> Any:
    return {}


def nothing_happened(ctx: Any, arguments: Any) -> Reconciled:
    return DidNotHappen()


def test_the_highest_version_is_the_default() -> None:
    tools = Registry()
    for version in ("1.2.0", "1.10.0", "1.9.0"):
        tools.register(replace(TICKET, version=version), handler)
    newest = tools.get("create_ticket")
    assert newest is not None
    assert newest.version == "1.10.0"
    exact = tools.get("create_ticket", "1.2.0")
    assert exact is not None
    assert exact.version == "1.2.0"
    assert tools.get("create_ticket", "3.0.0") is None
    assert tools.get("nothing") is None
    assert [c.version for c in tools.contracts()] == ["1.10.0"]
    assert [c.version for c in tools.all_versions()] == ["1.2.0", "1.9.0", "1.10.0"]


def test_a_version_cannot_be_replaced() -> None:
    tools = Registry()
    tools.register(TICKET, handler)
    with pytest.raises(ContractError, match="already"):
        tools.register(replace(TICKET, description="Another."), handler)


def test_a_removed_version_is_gone() -> None:
    tools = Registry()
    tools.register(TICKET, handler)
    tools.remove("create_ticket", "1.0.0")
    tools.remove("create_ticket", "1.0.0")
    assert tools.get("create_ticket") is None
    assert tools.contracts() == []


def test_an_unsafe_write_needs_a_way_to_ask_whether_it_happened() -> None:
    with pytest.raises(ContractError, match="reconcile"):
        Registry().register(REFUND, handler)
    Registry().register(REFUND, handler, reconcile=nothing_happened)


def test_a_loose_schema_is_not_registered() -> None:
    loose = replace(TICKET, input_schema={**TICKET.to_json()["input_schema"], "additionalProperties": True})  # type: ignore[dict-item]
    with pytest.raises(ContractError, match="additional"):
        Registry().register(loose, handler)


def test_a_tool_without_a_preview_says_so() -> None:
    tools = Registry()
    tools.register(replace(TICKET, effect=Effect.READ), handler)
    assert tools.describe("create_ticket", "1.0.0", {}).warnings


def test_handlers_are_handed_out_once() -> None:
    tools = Registry()
    tools.register(TICKET, handler)
    Executor(tools)
    with pytest.raises(HandlersClaimedError):
        tools.claim_handlers()
    with pytest.raises(HandlersClaimedError):
        registry.claim_handlers()


def test_a_registry_shows_no_handler_to_those_who_look_inside() -> None:
    tools = Registry()
    tools.register(TICKET, handler)
    assert handler not in [value for attribute in vars(tools).values() for value in _contents(attribute)]


def _contents(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [inner for part in value.values() for inner in _contents(part)]
    return [value]


def product_files() -> list[Path]:
    return [
        path
        for package in ("agentops", "approvals", "tools")
        for path in sorted((ROOT / package).rglob("*.py"))
        if "migrations" not in path.parts
    ]


def test_only_the_executor_reaches_a_handler() -> None:
    """Handlers live in `tools.builtin`; only its own registration names them and only the executor claims them."""
    claims, imports, escapes = [], [], []
    for path in product_files():
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "claim_handlers":
                claims.append(name)
            if isinstance(node, ast.Attribute) and node.attr in {"__closure__", "cell_contents", "_claim"}:
                escapes.append(name)
            if isinstance(node, ast.ImportFrom) and _is_handler_module(node):
                imports.append(name)
            if isinstance(node, ast.Import) and any(a.name.startswith("tools.builtin") for a in node.names):
                imports.append(name)
    assert set(claims) == {"tools/executor.py"}
    assert set(escapes) <= {"tools/registry.py"}
    assert {name for name in imports if not name.startswith("tools/builtin/")} == set()


def _is_handler_module(node: ast.ImportFrom) -> bool:
    # The message parser, the schema parts and the effect's transaction hold no handler, and the registration function
    # hands nothing out.
    module = node.module or ""
    helpers = {"tools.builtin.message", "tools.builtin.shapes", "tools.builtin.effects"}
    if module in helpers or (module in {"builtin", "tools.builtin"} and _only_registers(node)):
        return False
    return module.startswith(("tools.builtin", "builtin.")) or module == "builtin"


def test_handlers_outside_of_the_builtin_package_are_named_by_their_registration_only() -> None:
    named = set()
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.endswith(".handlers") or any(name.split(".")[-1] == "handlers" for name in names):
                named.add(path.relative_to(ROOT).as_posix())
    assert named == {"agentops/memory/apps.py"}


def _only_registers(node: ast.ImportFrom) -> bool:
    return {alias.name for alias in node.names} == {"register_all"}
