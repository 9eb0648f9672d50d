import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope
from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    replaces = [("screening", "0001_initial"), ("screening", "0002_row_security"), ("screening", "0003_stubs")]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Screening",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "point",
                    models.CharField(
                        choices=[
                            ("strict", "Strict: flags more, and more often for nothing"),
                            ("balanced", "Balanced"),
                            ("permissive", "Permissive: flags only what is plain"),
                        ],
                        default="balanced",
                        max_length=10,
                        verbose_name="operating point",
                    ),
                ),
                ("smuggling", models.BooleanField(default=True, verbose_name="hidden and look-alike characters")),
                ("instruction", models.BooleanField(default=True, verbose_name="instructions to an agent")),
                ("forgery", models.BooleanField(default=True, verbose_name="forged roles, delimiters and tool calls")),
                (
                    "exfiltration",
                    models.BooleanField(default=True, verbose_name="links and images that carry data out"),
                ),
                ("credentials", models.BooleanField(default=True, verbose_name="requests for passwords and keys")),
                (
                    "stubs",
                    models.BooleanField(
                        default=True,
                        help_text="Models are shown stubs in place of what was found in flagged text; people see all of it.",
                        verbose_name="keep it from models",
                    ),
                ),
                ("note", models.CharField(blank=True, help_text="Why it is set like this.", max_length=300)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
                (
                    "updated_by",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "guardrail setting",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant",), name="screening_one_per_tenant"),
                    models.CheckConstraint(
                        condition=models.Q(("point__in", ["strict", "balanced", "permissive"])),
                        name="screening_point_known",
                    ),
                ],
            },
        ),
        enable_rls("screening_screening"),
    ]
