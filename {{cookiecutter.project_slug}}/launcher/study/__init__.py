"""A tuning study on this machine, as Vertex AI runs a HyperparameterTuningJob.

study           start here: `Study` runs the trials
space           the parameters: ParameterSpecs as optuna distributions and as flags
study_search    optuna suggests parameters; study.journal keeps the trials
study_trial     run one trial
study_curves    the learning curves of the trials
study_stopping  stop a trial early
study_dir       find, lock and resume the directory of a study
study_results   write the leaderboard and job files of the best trials
study_report    write the page of a study
study_charts    its figures
"""
