"""A fresh database is made in one step for each application, an old one step by step; both end the same."""

from collections.abc import Iterator
from typing import Any

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState


def parts(model: ModelState) -> Iterator[tuple[str, Any]]:
    """Name what the table of a model is made of: columns, constraints, indexes and the rest of its options."""
    for name, field in model.fields.items():
        yield f"field {name}", field.deconstruct()[1:]
    for kind in ("constraints", "indexes"):
        for one in model.options.get(kind, ()):
            yield f"{kind} {one.name}", one.deconstruct()
    yield "options", {k: v for k, v in model.options.items() if k not in ("constraints", "indexes") and v}


def tables(*, in_one_step: bool) -> dict[tuple[str, str], dict[str, Any]]:
    state = MigrationLoader(None, replace_migrations=in_one_step).project_state()
    return {name: dict(parts(model)) for name, model in state.models.items()}


def test_one_step_makes_what_all_steps_make() -> None:
    together, one_by_one = tables(in_one_step=True), tables(in_one_step=False)
    assert together.keys() == one_by_one.keys()
    for name, wanted in one_by_one.items():
        assert together[name] == wanted, name


def test_every_step_is_replaced_or_comes_later() -> None:
    """A step that stands between those that were put together would be run twice, or never."""
    loader = MigrationLoader(None, replace_migrations=False)
    for (app, name), migration in loader.disk_migrations.items():
        if replaced := migration.replaces:
            assert replaced == sorted(replaced)
            before = {key for key in loader.disk_migrations if key[0] == app and key[1] < replaced[-1][1]}
            assert before - {(app, name)} <= set(replaced)
