"""The tools that come with the product. They are registered here, one by one, and nowhere else."""

from tools.registry import Registry


def register_all(registry: Registry) -> None:
    """Register every first-party tool. Needs the app registry to be ready."""
    from . import access, customers, mail, shop, tickets, triage, web
    from .examples import EXAMPLES

    registry.register(mail.READ, mail.read, describe=mail.describe_read)
    registry.register(
        mail.SEND,
        mail.send,
        describe=mail.describe_send,
        reconcile=mail.reconcile_send,
        read_back=mail.read_sent_back,
    )
    registry.register(triage.TRIAGE, triage.triage, describe=triage.describe)
    registry.register(shop.FIND_CUSTOMER, shop.find_customer, describe=shop.describe_customer)
    registry.register(shop.FIND_ORDER, shop.find_order, describe=shop.describe_order)
    registry.register(
        shop.ISSUE_REFUND,
        shop.issue_refund,
        describe=shop.describe_refund,
        reconcile=shop.reconcile_refund,
        read_back=shop.read_refund_back,
    )
    registry.register(
        tickets.CREATE_TICKET, tickets.create_ticket, describe=tickets.describe, reconcile=tickets.reconcile
    )
    registry.register(
        customers.ERASE,
        customers.erase,
        describe=customers.describe,
        reconcile=customers.reconcile,
        read_back=customers.read_back,
    )
    registry.register(
        access.GRANT_ROLE,
        access.grant_role,
        describe=access.describe,
        reconcile=access.reconcile,
        read_back=access.read_back,
    )
    outside = web.Web()
    registry.register(web.FETCH, outside.fetch, describe=web.describe_fetch, bars=web.bars)
    registry.register(
        web.REQUEST, outside.request, describe=web.describe_request, reconcile=web.reconcile, bars=web.bars
    )
    for name, example in EXAMPLES.items():
        registry.illustrate(name, example)
