"""Retention and legal holds, below a tenant."""

from django.urls import path

from agentops.retention import views

urlpatterns = [
    path("retention", views.retention, name="retention"),
    path("retention/periods", views.change, name="retention_change"),
    path("retention/periods/<uuid:pk>", views.decide, name="retention_decide"),
    path("retention/holds", views.hold_place, name="hold_place"),
    path("retention/holds/<uuid:pk>/lift", views.hold_ask, name="hold_ask"),
    path("retention/holds/<uuid:pk>/answer", views.hold_answer, name="hold_answer"),
]
