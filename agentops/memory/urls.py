"""Memory pages, below a tenant."""

from django.urls import path

from agentops.memory import views

urlpatterns = [
    path("memory", views.fact_list, name="memory"),
    path("memory/queue", views.queue, name="memory_queue"),
    path("memory/<int:pk>", views.fact_detail, name="fact"),
    path("memory/<int:pk>/curate", views.curate, name="fact_curate"),
]
