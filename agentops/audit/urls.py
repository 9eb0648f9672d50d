"""Audit pages, below a tenant."""

from django.urls import path

from agentops.audit import views

urlpatterns = [
    path("audit", views.audit_list, name="audit"),
    path("audit/verify", views.verify, name="audit_verify"),
    path("audit/exports", views.export_list, name="audit_exports"),
    path("audit/exports/new", views.export, name="audit_export"),
    path("audit/exports/<int:pk>/file", views.export_file, name="audit_export_file"),
    path("audit/events/<int:pk>", views.audit_event, name="audit_event"),
]
