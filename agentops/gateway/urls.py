"""Addresses of the API, below `/api/v1/`. There is none for deciding proposals: that needs a person."""

from django.urls import path, re_path

from agentops.gateway import views

urlpatterns = [
    path("agent/run", views.SubmitView.as_view(), name="api-submit"),
    path("runs", views.RunsView.as_view(), name="api-runs"),
    path("runs/<uuid:run_id>", views.RunView.as_view(), name="api-run"),
    path("runs/<uuid:run_id>/events", views.RunEventsView.as_view(), name="api-run-events"),
    path("runs/<uuid:run_id>/events/<int:seq>/exchange", views.RunExchangeView.as_view(), name="api-run-exchange"),
    path("runs/<uuid:run_id>/cancel", views.RunCancelView.as_view(), name="api-run-cancel"),
    path("task-types", views.TaskTypesView.as_view(), name="api-task-types"),
    re_path(r"", views.UnknownView.as_view(), name="api-unknown"),
]
