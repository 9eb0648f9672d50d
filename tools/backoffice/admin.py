"""The back office in the admin: to look at, never to change. Its rows change through tools only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from agentops.tenancy.admin_base import TenantModelAdmin
from agentops.wire.money import format_money

from .models import (
    Colleague,
    Customer,
    Erasure,
    InboxMessage,
    Mailbox,
    Order,
    Refund,
    RoleGrant,
    SentMessage,
    SystemRole,
    Ticket,
)


class RecordAdmin(TenantModelAdmin):
    """A read-only page."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


@admin.register(Customer)
class CustomerAdmin(RecordAdmin):
    """Customers."""

    list_display = ("ref", "name", "email", "language", "erased_at")
    search_fields = ("ref", "name", "email")


@admin.register(Order)
class OrderAdmin(RecordAdmin):
    """Orders and invoices."""

    list_display = ("ref", "customer", "summary", "total", "status", "placed_at")
    list_filter = ("status",)
    list_select_related = ("customer",)
    search_fields = ("ref", "customer__ref", "customer__name")

    @admin.display(description="Total", ordering="total_minor")
    def total(self, order: Order) -> str:
        """Return the order total as money."""
        return format_money(order.total_minor, order.currency)


@admin.register(Refund)
class RefundAdmin(RecordAdmin):
    """Refunds."""

    list_display = ("ref", "order", "amount", "reason", "created_at")
    list_select_related = ("order",)
    search_fields = ("ref", "order__ref")

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, refund: Refund) -> str:
        """Return the refund as money."""
        return format_money(refund.amount_minor, refund.currency)


@admin.register(InboxMessage)
class InboxMessageAdmin(RecordAdmin):
    """Received messages; the raw bytes stay out of the browser."""

    list_display = ("ref", "sender", "subject", "received_at")
    search_fields = ("ref", "sender", "subject")
    exclude = ("raw",)


@admin.register(SentMessage)
class SentMessageAdmin(RecordAdmin):
    """Messages of ours."""

    list_display = ("to", "subject", "state", "created_at", "sent_at")
    list_filter = ("state",)
    search_fields = ("to", "subject", "message_id")


@admin.register(Ticket)
class TicketAdmin(RecordAdmin):
    """Tickets."""

    list_display = ("ref", "title", "priority", "created_at")
    list_filter = ("priority",)
    search_fields = ("ref", "title")


@admin.register(RoleGrant)
class RoleGrantAdmin(RecordAdmin):
    """Granted roles."""

    list_display = ("account", "role", "system", "reason", "created_at")
    list_filter = ("system",)
    search_fields = ("account", "role")


@admin.register(Erasure)
class ErasureAdmin(RecordAdmin):
    """Erasures."""

    list_display = ("customer", "orders_kept", "messages_erased", "reason", "created_at")
    list_select_related = ("customer",)


@admin.register(Colleague)
class ColleagueAdmin(TenantModelAdmin):
    """People who may hold roles."""

    list_display = ("account", "name", "title", "active")
    list_filter = ("active",)
    search_fields = ("account", "name")


@admin.register(SystemRole)
class SystemRoleAdmin(TenantModelAdmin):
    """The catalogue of roles that can be granted."""

    list_display = ("system", "role", "allows", "privileged")
    list_filter = ("system", "privileged")


@admin.register(Mailbox)
class MailboxAdmin(TenantModelAdmin):
    """The tenant's own address."""

    list_display = ("address", "display_name")
