from django.apps import AppConfig


class WorkerConfig(AppConfig):
    name = "agentops.worker"
    label = "worker"
    verbose_name = "Worker"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let task types that plan with a model say when none can be asked; they are a layer below this one."""
        from agentops.runs.issues import check_model_with

        check_model_with(_model_problem)


def _model_problem() -> str:
    from agentops.worker.model import ModelConfig

    return ModelConfig.from_settings().problem()
