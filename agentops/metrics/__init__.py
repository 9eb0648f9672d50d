"""How the work is going: definitions, rollups of the record, the dashboard, the drift alarm, Prometheus, traces."""
