"""Audit pages, below a tenant."""

from django.urls import path

from agentops.audit import views

urlpatterns = [
    path("audit", views.audit_list, name="audit"),
    path("audit/events/<int:pk>", views.audit_event, name="audit_event"),
]
