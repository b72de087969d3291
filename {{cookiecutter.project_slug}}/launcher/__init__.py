"""What starts jobs and reads what they left; never imports the trainer or TensorFlow.

Where to look. The first of each line is where to begin; the others are its parts:

    a job file          spec; document, shape, scalars, program, rules, task_rules, machine_rules,
                        machines, place_rules, study_rules, trainer_rules, settings, summary
    an old job file     migrate; migrate_machines, migrate_study, commented
    a job here          start; local, contract, process, guard, faults, view, run_dirs
    in containers       container; image
    a study here        study; space, study_dir, study_search, study_trial, study_curves,
                        study_stopping, study_results, study_report, study_charts
    a run and its page  runs; report, charts, report_sections, comparison
    a job in the cloud  submit; submission, vertex, pending, watch, cloud_logs, strays, labels, git
    its code            registry, package
    jobs out there      jobs; jobs_facts, jobs_study, remote_job, fetch
    what it costs       cost; cost_parts, prices, price_catalog
    Google's clients    clients; storage, object_names, identity, google_api
    what is missing     doctor; checkup, doctor_local, environment, doctor_cloud, doctor_login,
                        doctor_quota
    setting it up       cloud_setup; cloud_steps, gcp
"""
