"""Run pages, below a tenant. Cancelling and reconciling are in `approvals.urls`, because proposals close with them."""

from django.urls import path

from agentops.runs import views

urlpatterns = [
    path("runs", views.run_list, name="runs"),
    path("runs/<uuid:pk>", views.run_detail, name="run"),
    path("runs/<uuid:pk>/exchanges/<int:seq>", views.run_exchange, name="run_exchange"),
    path("runs/<uuid:pk>/artifacts", views.run_artifacts, name="run_artifacts"),
    path("submit", views.submit, name="submit"),
]
