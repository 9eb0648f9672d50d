"""Metrics pages, below a tenant."""

from django.urls import path

from agentops.metrics import budget_views, views

urlpatterns = [
    path("metrics", views.metrics, name="metrics"),
    path("metrics/runs", views.metrics_runs, name="metrics_runs"),
    path("metrics/alarms/<uuid:pk>", views.alarm, name="alarm"),
    path("metrics/alarms/<uuid:pk>/acknowledge", views.alarm_acknowledge, name="alarm_acknowledge"),
    path("metrics/alarms/<uuid:pk>/reset", views.alarm_reset, name="alarm_reset"),
    path("budgets", budget_views.budgets, name="budgets"),
]
