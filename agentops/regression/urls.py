"""Records step by step, imported records, cases and suites. Their names begin like those of runs, where they belong."""

from django.urls import path

from agentops.regression import record_views, suite_views

urlpatterns = [
    path("runs/<uuid:pk>/steps", record_views.run_steps, name="run_steps"),
    path("runs/<uuid:pk>/export", record_views.export, name="run_export"),
    path("runs/<uuid:pk>/case", suite_views.promote, name="run_promote"),
    path("proposals/<uuid:pk>/case", suite_views.from_rejection, name="proposal_case"),
    path("records", record_views.imports, name="run_imports"),
    path("records/<uuid:pk>", record_views.import_steps, name="run_import_steps"),
    path("regression", suite_views.suites, name="run_suites"),
    path("regression/compare", suite_views.compare, name="run_compare"),
    path("regression/rehearse", suite_views.rehearse, name="run_rehearse"),
    path("regression/rules", suite_views.pin_rules, name="run_pin_rules"),
    path("regression/rehearsals/<uuid:pk>", suite_views.rehearsal, name="run_rehearsal"),
    path("regression/rehearsals/<uuid:pk>/stop", suite_views.rehearsal_stop, name="run_rehearsal_stop"),
    path("regression/runs/<uuid:pk>", suite_views.suite_run, name="run_suite"),
    path("regression/results/<int:pk>", record_views.result_steps, name="run_result_steps"),
    path("regression/cases/<uuid:pk>", suite_views.case, name="run_case"),
    path("regression/cases/<uuid:pk>/quarantine", suite_views.quarantine, name="run_case_quarantine"),
    path("regression/cases/<uuid:pk>/retire", suite_views.retire, name="run_case_retire"),
]
