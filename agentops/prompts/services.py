"""Make versions of prompts. Every new one writes its event in the same transaction."""

from dataclasses import dataclass

from django.db import transaction

from agentops.prompts.built_in import BUILT_IN, RESERVED, digest
from agentops.prompts.models import Prompt
from agentops.prompts.template import TemplateIssue, template_issues
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.journal import record
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import current_tenant_id


@dataclass(frozen=True, slots=True)
class InvalidPrompt:
    """The template was not accepted; nothing was written."""

    issues: tuple[TemplateIssue, ...]


def prompt_issues(*, slug: str, planning: str, template: str) -> list[TemplateIssue]:
    """Say everything that keeps this from becoming the next version of a prompt. One query.

    Codes: those of `template.template_issues`, and prompt_reserved, prompt_other_planning.
    """
    issues = template_issues(template, planning)
    if slug.startswith(RESERVED):
        message = f"Names that begin with {RESERVED} belong to prompts that come with the program: choose another one."
        issues.append(TemplateIssue("prompt_reserved", message))
    newest = _newest(slug)
    if newest is not None and newest.planning != planning:
        message = f"{slug} explains {newest.get_planning_display()!r}: another way of planning needs another prompt."
        issues.append(TemplateIssue("prompt_other_planning", message))
    return issues


def save_prompt(*, slug: str, planning: str, template: str, actor: Actor) -> Prompt | InvalidPrompt:
    """Store the next version of a prompt; earlier ones stay as they are, for the runs that use them.

    A text that equals the newest version is that version, and nothing is written.
    """
    text = template.replace("\r\n", "\n").strip()
    with transaction.atomic():
        _lock()
        issues = prompt_issues(slug=slug, planning=planning, template=text)
        return InvalidPrompt(tuple(issues)) if issues else _next_version(slug, planning, text, actor)


def built_in(planning: str) -> Prompt:
    """Return the prompt that comes with the program, as the open tenant's row; it is stored when it is not there yet.

    One query, more only the first time and when the program has brought a new text.
    """
    slug, template = BUILT_IN[planning]
    newest = _newest(slug)
    if newest is not None and newest.template == template:
        return newest
    with transaction.atomic():
        _lock()
        return _next_version(slug, planning, template, SYSTEM)


def _newest(slug: str) -> Prompt | None:
    return Prompt.objects.filter(slug=slug).order_by("-version").first()


def _lock() -> None:
    """Let one writer of this tenant at a time find out which version is next; the first one has no row to lock."""
    Tenant.objects.select_for_update().get(pk=current_tenant_id())


def _next_version(slug: str, planning: str, template: str, actor: Actor) -> Prompt:
    newest = _newest(slug)
    if newest is not None and newest.template == template:
        return newest
    made = Prompt.objects.create(
        slug=slug,
        version=newest.version + 1 if newest is not None else 1,
        planning=planning,
        template=template,
        digest=digest(template),
        created_by_id=actor.user_id,
    )
    record(
        "prompt.saved",
        {"prompt": made.name, "planning": planning, "digest": made.digest, "characters": len(template)},
        subject=("prompt", str(made.pk)),
        actor=actor,
    )
    return made
