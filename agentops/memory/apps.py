from django.apps import AppConfig


class MemoryConfig(AppConfig):
    name = "agentops.memory"
    label = "memory"
    verbose_name = "Memory"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Offer the two memory tools to the registry, a layer below that must not import this one."""
        from agentops.memory import contracts, handlers
        from tools.registry import registry

        registry.register(
            contracts.PROPOSE_FACT,
            handlers.propose_fact,
            describe=handlers.describe_proposal,
            reconcile=handlers.reconcile_proposal,
        )
        registry.register(contracts.RECALL, handlers.recall, describe=handlers.describe_recall)
