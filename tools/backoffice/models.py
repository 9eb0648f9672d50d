"""The records the first-party tools work on: a small back office, one per tenant.

Every effect row carries the idempotency key of the call that made it, unique in its tenant.
"""

from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantModel


class Mailbox(TenantModel):
    """The address a tenant reads and writes mail with; its domain is what counts as internal."""

    address = models.EmailField()
    display_name = models.CharField(max_length=100)

    class Meta:
        verbose_name_plural = "mailboxes"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="mailbox_one_per_tenant")]

    def __str__(self) -> str:
        return self.address

    @property
    def domain(self) -> str:
        """The part after the @, lower case."""
        return self.address.rpartition("@")[2].lower()


class Colleague(TenantModel):
    """A person who works for the tenant and may hold roles in its systems."""

    account = models.EmailField()
    name = models.CharField(max_length=100)
    title = models.CharField(max_length=100)
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["account"]
        constraints = [models.UniqueConstraint(fields=["tenant", "account"], name="colleague_account_unique")]

    def __str__(self) -> str:
        return f"{self.name} <{self.account}>"


class SystemRole(TenantModel):
    """A role that exists in one of the tenant's systems, and in words what it allows."""

    system = models.CharField(max_length=60)
    role = models.CharField(max_length=60)
    allows = models.CharField(max_length=300)
    privileged = models.BooleanField(default=False)

    class Meta:
        ordering = ["system", "role"]
        constraints = [models.UniqueConstraint(fields=["tenant", "system", "role"], name="system_role_unique")]

    def __str__(self) -> str:
        return f"{self.system}: {self.role}"


class Customer(TenantModel):
    """A customer (in other trades: a patient, a client). After an erasure only the reference remains."""

    ref = models.CharField(max_length=20)
    name = models.CharField(max_length=120, blank=True)
    email = models.EmailField(blank=True)
    address = models.CharField(max_length=250, blank=True)
    language = models.CharField(max_length=8, blank=True)
    erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["ref"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "ref"], name="customer_ref_unique"),
            models.UniqueConstraint(fields=["tenant", "email"], condition=~Q(email=""), name="customer_email_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.ref} {self.name}".strip()


class OrderStatus(models.TextChoices):
    """How far an order (or invoice) has come."""

    PAID = "paid", "Paid"
    SHIPPED = "shipped", "Shipped"
    DELIVERED = "delivered", "Delivered"
    CANCELLED = "cancelled", "Cancelled"


class Order(TenantModel):
    """An order or invoice, paid in full by card. Amounts are in minor units of `currency` (ISO 4217)."""

    ref = models.CharField(max_length=20)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders")
    summary = models.CharField(max_length=200)
    total_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    card_last4 = models.CharField(max_length=4, blank=True)
    placed_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=OrderStatus, default=OrderStatus.PAID)

    class Meta:
        ordering = ["-placed_at", "ref"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "ref"], name="order_ref_unique"),
            models.CheckConstraint(condition=Q(total_minor__gte=0), name="order_total_not_negative"),
        ]

    def __str__(self) -> str:
        return self.ref


class Refund(TenantModel):
    """Money paid back for an order, in minor units of `currency`."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="refunds")
    ref = models.CharField(max_length=40)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=500)
    idempotency_key = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "idempotency_key"], name="refund_key_unique"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="refund_amount_positive"),
        ]

    def __str__(self) -> str:
        return self.ref


class InboxMessage(TenantModel):
    """A message as it arrived, byte for byte; the other columns are what its header says (untrusted)."""

    ref = models.CharField(max_length=20)
    raw = models.BinaryField()
    received_at = models.DateTimeField()
    sender = models.CharField(max_length=320, blank=True)
    reply_to = models.CharField(max_length=320, blank=True)
    subject = models.CharField(max_length=300, blank=True)
    erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["ref"]
        indexes = [models.Index(fields=["tenant", "sender"], name="inbox_tenant_sender")]
        constraints = [models.UniqueConstraint(fields=["tenant", "ref"], name="inbox_ref_unique")]

    def __str__(self) -> str:
        return self.ref


class SentState(models.TextChoices):
    """Whether the mail server has taken a message."""

    SENDING = "sending", "Handed over, no answer yet"
    SENT = "sent", "Sent"


class SentMessage(TenantModel):
    """A message of ours. The row exists before the mail server is asked."""

    idempotency_key = models.CharField(max_length=200)
    to = models.CharField(max_length=320)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    state = models.CharField(max_length=10, choices=SentState, default=SentState.SENDING)
    message_id = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["tenant", "to"], name="sent_tenant_to")]
        constraints = [models.UniqueConstraint(fields=["tenant", "idempotency_key"], name="sent_key_unique")]

    def __str__(self) -> str:
        return f"{self.to}: {self.subject}"


class TicketPriority(models.TextChoices):
    """How soon somebody should look."""

    LOW = "low", "Low"
    MED = "med", "Medium"
    HIGH = "high", "High"


class Ticket(TenantModel):
    """A note to the team that somebody has to act on."""

    ref = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    priority = models.CharField(max_length=4, choices=TicketPriority)
    idempotency_key = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["tenant", "idempotency_key"], name="ticket_key_unique")]

    def __str__(self) -> str:
        return self.title


class RoleGrant(TenantModel):
    """A role that was given to an account in one of the tenant's systems."""

    system = models.CharField(max_length=60)
    account = models.EmailField()
    role = models.CharField(max_length=60)
    reason = models.CharField(max_length=500)
    idempotency_key = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "idempotency_key"], name="role_grant_key_unique"),
            models.UniqueConstraint(fields=["tenant", "system", "account", "role"], name="role_grant_once"),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.role} in {self.system}"


class Erasure(TenantModel):
    """The proof that a customer's personal data was erased; it holds none itself."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="erasures")
    reason = models.CharField(max_length=500)
    orders_kept = models.PositiveIntegerField()
    messages_erased = models.PositiveIntegerField()
    idempotency_key = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "idempotency_key"], name="erasure_key_unique"),
            models.UniqueConstraint(fields=["customer"], name="erasure_once"),
        ]

    def __str__(self) -> str:
        return f"{self.customer.ref}"
