"""The queue, proposals, unknown effects and live events, stepping into runs, and stopping the line, below a tenant."""

from django.urls import path
from django.views.generic import RedirectView

from approvals import decision_views, halt_views, handling_views, me_views, run_views, unknown_views, views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="queue"), name="start"),
    path("queue", views.queue, name="queue"),
    path("queue/newer", views.newer, name="queue_newer"),
    path("live", views.live_events, name="live"),
    path("proposals/<uuid:pk>", views.proposal, name="proposal"),
    path("proposals/<uuid:pk>/decide", views.decide, name="decide"),
    path("proposals/<uuid:pk>/seen", decision_views.section_seen, name="section_seen"),
    path("proposals/<uuid:pk>/step-up", decision_views.step_up, name="step_up"),
    path("proposals/<uuid:pk>/undo", decision_views.undo, name="undo"),
    path("proposals/<uuid:pk>/escalate", handling_views.escalate, name="escalate"),
    path("proposals/<uuid:pk>/extend", handling_views.extend, name="extend"),
    path("queue/reject", handling_views.reject_many, name="reject_many"),
    path("escalations", handling_views.escalations, name="escalations"),
    path("me", me_views.me, name="me"),
    path("me/preferences", me_views.preferences, name="preferences"),
    path("me/absence", me_views.absence, name="absence"),
    path("me/absence/<int:pk>/end", me_views.end_absence, name="absence_end"),
    path("unknown/<int:pk>", unknown_views.unknown, name="unknown"),
    path("unknown/<int:pk>/answer", unknown_views.answer_unknown, name="unknown_answer"),
    path("runs/<uuid:pk>/cancel", run_views.cancel_run, name="run_cancel"),
    path("runs/<uuid:pk>/pause", run_views.pause_run, name="run_pause"),
    path("runs/<uuid:pk>/resume", run_views.resume_run, name="run_resume"),
    path("runs/<uuid:pk>/requeue", run_views.requeue_run, name="run_requeue"),
    path("stop", halt_views.stop, name="stop"),
    path("stop/<int:pk>/lift", halt_views.lift, name="stop_lift"),
]
