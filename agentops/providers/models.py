"""What models cost where the price table is wrong, late or silent."""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantModel

PATTERN = r"^[A-Za-z0-9*][A-Za-z0-9._:/@+*-]*\Z"


class ModelPrice(TenantModel):
    """A price of the tenant's own, in millionths of a currency unit (that of the price table: USD) per million tokens.

    `pattern` is a model's full name, `*` standing for anything. The longest pattern that fits counts, of equal ones
    the price that became valid last.
    """

    pattern = models.CharField(
        max_length=120,
        validators=[RegexValidator(PATTERN, "Write a model's name; * stands for anything.")],
        help_text="The full name, such as openai:gpt-5 or local:*.",
    )
    input_micros = models.PositiveBigIntegerField(help_text="Per million input tokens; 1,250,000 is 1.25 USD.")
    output_micros = models.PositiveBigIntegerField(help_text="Per million output tokens.")
    cached_micros = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Per million input tokens from the provider's cache; empty: as other input."
    )
    valid_from = models.DateTimeField(help_text="UTC.")

    class Meta:
        ordering = ("pattern", "-valid_from")
        verbose_name = "model price"
        constraints = (
            models.UniqueConstraint(fields=("tenant", "pattern", "valid_from"), name="model_price_once"),
            models.CheckConstraint(
                condition=Q(input_micros__lte=10**12)
                & Q(output_micros__lte=10**12)
                & (Q(cached_micros__isnull=True) | Q(cached_micros__lte=10**12)),
                name="model_price_bounded",
            ),
        )

    def __str__(self) -> str:
        return f"{self.pattern} from {self.valid_from:%Y-%m-%d}"
