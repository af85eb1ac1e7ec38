"""Many runs from one command: names of jobs, jobs that exist already, Optuna's search, Ray's launcher."""
