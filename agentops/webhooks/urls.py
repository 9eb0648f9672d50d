"""Webhooks, below a tenant."""

from django.urls import path

from agentops.webhooks import views

urlpatterns = [
    path("webhooks", views.webhooks, name="webhooks"),
    path("webhooks/add", views.add, name="webhook_add"),
    path("webhooks/<int:pk>", views.webhook, name="webhook"),
    path("webhooks/<int:pk>/change", views.change, name="webhook_change"),
    path("webhooks/<int:pk>/switch", views.switch, name="webhook_switch"),
    path("webhooks/<int:pk>/rotate", views.rotate, name="webhook_rotate"),
    path("webhooks/<int:pk>/test", views.test, name="webhook_test"),
    path("webhooks/<int:pk>/remove", views.remove, name="webhook_remove"),
]
