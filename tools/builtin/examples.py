"""One call of every first-party tool as people would make it: for the pages of contracts and for `contracts check`."""

from typing import Final

from agentops.wire.parse import JSONObject

EXAMPLES: Final[dict[str, JSONObject]] = {
    "mail.read": {"message_id": "M-0001"},
    "mail.send": {
        "to": "maria@example.com",
        "subject": "Your order A-1093",
        "body": "Dear Maria, your refund is on its way.",
    },
    "mail.triage": {
        "subject": "Where is my parcel?",
        "text": "I ordered A-1093 two weeks ago and nothing has come.",
        "from_address": "maria@example.com",
    },
    "shop.find_customer": {"email": "maria@example.com"},
    "shop.find_order": {"order_ref": "A-1093"},
    "shop.issue_refund": {
        "order_ref": "A-1093",
        "amount_minor": 4990,
        "currency": "EUR",
        "reason": "The parcel arrived broken.",
    },
    "create_ticket": {"title": "Call the carrier about A-1093", "priority": "med"},
    "customer.erase": {"customer_ref": "C-1001", "reason": "Asked for by the customer."},
    "access.grant_role": {
        "system": "wiki",
        "account": "cora@example.com",
        "role": "reader",
        "reason": "Joins the support team.",
    },
    "web.fetch": {"url": "https://status.example.com/api/v1/summary?area=eu", "method": "GET"},
    "http.request": {
        "method": "POST",
        "url": "https://api.example.com/v1/shipments",
        "content_type": "application/json",
        "body": '{"order": "A-1093", "carrier": "dhl"}',
    },
}
