"""The queue, proposals, unknown effects and live events, stepping into runs, and stopping the line, below a tenant."""

from django.urls import path
from django.views.generic import RedirectView

from approvals import halt_views, risk_views, run_views, unknown_views, value_views, views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="queue"), name="start"),
    path("queue", views.queue, name="queue"),
    path("queue/newer", views.newer, name="queue_newer"),
    path("live", views.live_events, name="live"),
    path("proposals/<uuid:pk>", views.proposal, name="proposal"),
    path("proposals/<uuid:pk>/decide", views.decide, name="decide"),
    path("proposals/<uuid:pk>/values", value_views.values, name="values"),
    path("proposals/<uuid:pk>/similar", value_views.similar, name="similar"),
    path("runs/<uuid:pk>/calls", value_views.calls, name="together"),
    path("risk", risk_views.risk, name="risk"),
    path("risk/propose", risk_views.propose, name="risk_propose"),
    path("risk/<uuid:pk>/decide", risk_views.decide, name="risk_decide"),
    path("unknown/<int:pk>", unknown_views.unknown, name="unknown"),
    path("unknown/<int:pk>/answer", unknown_views.answer_unknown, name="unknown_answer"),
    path("runs/<uuid:pk>/cancel", run_views.cancel_run, name="run_cancel"),
    path("runs/<uuid:pk>/pause", run_views.pause_run, name="run_pause"),
    path("runs/<uuid:pk>/resume", run_views.resume_run, name="run_resume"),
    path("runs/<uuid:pk>/requeue", run_views.requeue_run, name="run_requeue"),
    path("stop", halt_views.stop, name="stop"),
    path("stop/<int:pk>/lift", halt_views.lift, name="stop_lift"),
]
