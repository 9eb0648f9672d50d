"""The queue and its proposals, unknown effects and live events, stepping into runs, and stopping the line."""

from django.urls import path
from django.views.generic import RedirectView

from approvals import (
    claim_views,
    halt_views,
    key_views,
    queue_views,
    risk_views,
    run_views,
    unknown_views,
    value_views,
    views,
)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="queue"), name="start"),
    path("queue", queue_views.queue, name="queue"),
    path("queue/newer", queue_views.newer, name="queue_newer"),
    path("queue/rows", queue_views.changed_rows, name="queue_rows"),
    path("queue/next", queue_views.serve, name="queue_next"),
    path("queue/views", queue_views.save_view, name="view_save"),
    path("queue/views/<int:pk>/remove", queue_views.remove_view, name="view_remove"),
    path("live", queue_views.live_events, name="live"),
    path("proposals/<uuid:pk>/claim", claim_views.claim, name="claim"),
    path("proposals/<uuid:pk>/release", claim_views.release, name="release"),
    path("proposals/<uuid:pk>/renew", claim_views.renew, name="renew"),
    path("proposals/<uuid:pk>/assign", claim_views.assign, name="assign"),
    path("proposals/<uuid:pk>/hold", claim_views.hold, name="hold"),
    path("proposals/<uuid:pk>/resume", claim_views.resume, name="resume"),
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
    path("me/keys", key_views.my_keys, name="my_keys"),
    path("stop", halt_views.stop, name="stop"),
    path("stop/<int:pk>/lift", halt_views.lift, name="stop_lift"),
]
