from django.apps import AppConfig


class MemoryConfig(AppConfig):
    name = "agentops.memory"
    label = "memory"
    verbose_name = "Memory"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Offer the memory tools to the registry, and let session memory end with its run; both are layers below."""
        from agentops.memory import contracts, handlers, session
        from agentops.runs.endings import at_end
        from tools.registry import registry

        registry.register(
            contracts.PROPOSE_FACT,
            handlers.propose_fact,
            describe=handlers.describe_proposal,
            reconcile=handlers.reconcile_proposal,
        )
        registry.register(contracts.RECALL, handlers.recall, describe=handlers.describe_recall)
        registry.register(
            contracts.SESSION_NOTE, handlers.note, describe=handlers.describe_note, reconcile=handlers.reconcile_note
        )
        registry.register(contracts.SESSION_RECALL, handlers.read_note, describe=handlers.describe_read_note)
        for name, example in contracts.EXAMPLES.items():
            registry.illustrate(name, example)
        at_end(session.drop, session.may_have_notes)
