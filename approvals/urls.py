"""The queue, proposals and live events, and stepping into runs, below a tenant."""

from django.urls import path
from django.views.generic import RedirectView

from approvals import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="queue"), name="start"),
    path("queue", views.queue, name="queue"),
    path("queue/newer", views.newer, name="queue_newer"),
    path("live", views.live_events, name="live"),
    path("proposals/<uuid:pk>", views.proposal, name="proposal"),
    path("proposals/<uuid:pk>/decide", views.decide, name="decide"),
    path("runs/<uuid:pk>/cancel", views.cancel_run, name="run_cancel"),
    path("runs/<uuid:pk>/reconcile", views.reconcile_call, name="run_reconcile"),
]
